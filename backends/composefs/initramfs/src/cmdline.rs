//! The root argument on the kernel command line. No I/O.
//!
//! Two spellings name the same thing, the fs-verity digest of an EROFS image: `composefs=<hex>` and
//! `composefs.digest=v1-sha256-12:<hex>` (`v2`, and `sha512`, likewise; 12 is the binary logarithm of the block size).
//! A `?` in front of the value says that fs-verity is wanted, but not required. The spellings are those of
//! composefs-boot 0.9 (`cmdline.rs`).
//!
//! What the command line says is all that counts: a signed one cannot be weakened by anything on a disk. So there must be
//! exactly one opinion on it. Upstream takes the first image that exists, if there are several arguments; here
//! they must agree, because otherwise deleting an image would change what boots.

use std::fmt;

/// The hash function of fs-verity that a digest was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal digits.
    Sha256,
    /// SHA-512, 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// Which image has to become the root, and how strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootArgument {
    /// The hash function of the digest, and of every object.
    pub algorithm: Algorithm,
    /// The image's fs-verity digest in lower-case hexadecimal.
    pub digest: String,
    /// Whether the image and all data must be enforced by fs-verity.
    pub verity_required: bool,
}

/// Why a command line names no root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CmdlineError {
    /// Neither argument is present.
    Missing,
    /// An argument that is present cannot be understood.
    Malformed(String),
    /// Two arguments name different images, or differ in strictness.
    Conflict(String, String),
}

impl fmt::Display for CmdlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "the kernel command line names no root: composefs=<digest> or composefs.digest=<format>:<digest> is needed",
            ),
            Self::Malformed(argument) => write!(f, "malformed kernel argument `{argument}`"),
            Self::Conflict(one, other) => write!(f, "kernel arguments `{one}` and `{other}` name different roots"),
        }
    }
}

impl std::error::Error for CmdlineError {}

/// Finds the root argument on a kernel command line.
///
/// # Errors
/// If there is none, one that is malformed, or several that do not agree in every respect.
pub fn parse(cmdline: &str) -> Result<RootArgument, CmdlineError> {
    let mut found: Option<(String, RootArgument)> = None;
    for word in words(cmdline) {
        let Some(argument) = parse_word(&word) else { continue };
        let argument = argument?;
        match &found {
            Some((other, first)) if *first != argument => {
                return Err(CmdlineError::Conflict(other.clone(), word));
            }
            Some(_) => {}
            None => found = Some((word, argument)),
        }
    }
    found.map(|(_, argument)| argument).ok_or(CmdlineError::Missing)
}

/// Splits as the kernel does: at white space outside double quotes, which are then dropped (`lib/cmdline.c`, `next_arg`).
fn words(cmdline: &str) -> impl Iterator<Item = String> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            !quoted && c.is_ascii_whitespace()
        })
        .map(|word| word.replace('"', ""))
}

/// `None` if `word` is another argument.
fn parse_word(word: &str) -> Option<Result<RootArgument, CmdlineError>> {
    let root = if let Some(value) = word.strip_prefix("composefs.digest=") {
        self_describing(value)
    } else {
        short(word.strip_prefix("composefs=")?)
    };
    Some(root.ok_or_else(|| CmdlineError::Malformed(word.into())))
}

fn self_describing(value: &str) -> Option<RootArgument> {
    let (value, verity_required) = strictness(value);
    let (format, digest) = value.split_once(':')?;
    let algorithm = match format {
        "v1-sha256-12" | "v2-sha256-12" => Algorithm::Sha256,
        "v1-sha512-12" | "v2-sha512-12" => Algorithm::Sha512,
        _ => return None,
    };
    root(algorithm, digest, verity_required)
}

fn short(value: &str) -> Option<RootArgument> {
    let (digest, verity_required) = strictness(value);
    [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .find_map(|algorithm| root(algorithm, digest, verity_required))
}

fn strictness(value: &str) -> (&str, bool) {
    value.strip_prefix('?').map_or((value, true), |rest| (rest, false))
}

fn root(algorithm: Algorithm, digest: &str, verity_required: bool) -> Option<RootArgument> {
    let valid = digest.len() == algorithm.hex_len() && digest.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| RootArgument { algorithm, digest: digest.to_ascii_lowercase(), verity_required })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(c: char, algorithm: Algorithm) -> String {
        c.to_string().repeat(algorithm.hex_len())
    }

    fn required(c: char, algorithm: Algorithm) -> RootArgument {
        RootArgument { algorithm, digest: hex(c, algorithm), verity_required: true }
    }

    /// spec: BW-313
    #[test]
    fn both_spellings_name_the_same_root() {
        for (algorithm, name) in [(Algorithm::Sha256, "sha256"), (Algorithm::Sha512, "sha512")] {
            let digest = hex('a', algorithm);
            for word in [
                format!("composefs={digest}"),
                format!("composefs.digest=v1-{name}-12:{digest}"),
                format!("composefs.digest=v2-{name}-12:{digest}"),
                format!("\"composefs={digest}\""),
                format!("composefs=\"{}\"", digest.to_uppercase()),
            ] {
                assert_eq!(
                    parse(&format!("root=LABEL=x {word} quiet\n")),
                    Ok(required('a', algorithm)),
                    "{word}"
                );
            }
        }
    }

    /// spec: BW-602
    #[test]
    fn a_question_mark_makes_verity_optional() {
        let digest = hex('b', Algorithm::Sha256);
        for word in [format!("composefs=?{digest}"), format!("composefs.digest=?v1-sha256-12:{digest}")] {
            assert_eq!(parse(&word).map(|root| root.verity_required), Ok(false), "{word}");
        }
    }

    /// spec: BW-603
    #[test]
    fn without_an_argument_there_is_no_root() {
        for cmdline in ["", "\n", "root=LABEL=x quiet", "composefs", "xcomposefs=1", "composefs.other=1"] {
            assert_eq!(parse(cmdline), Err(CmdlineError::Missing), "{cmdline}");
        }
    }

    /// spec: BW-603
    #[test]
    fn a_malformed_argument_is_an_error_even_beside_a_good_one() {
        let digest = hex('c', Algorithm::Sha256);
        for word in [
            "composefs=".to_owned(),
            "composefs=?".to_owned(),
            format!("composefs={}", &digest[1..]),
            format!("composefs={digest}/.."),
            format!("composefs={}g", &digest[1..]),
            format!("composefs=??{digest}"),
            format!("composefs.digest={digest}"),
            format!("composefs.digest=v1-sha512-12:{digest}"),
            format!("composefs.digest=v1-sha256-16:{digest}"),
            format!("composefs.digest=v3-sha256-12:{digest}"),
            format!("composefs.digest=v1-sha256-12:?{digest}"),
        ] {
            let both = format!("composefs={digest} {word}");
            assert_eq!(parse(&both), Err(CmdlineError::Malformed(word)));
        }
    }

    /// spec: BW-008, BW-603
    #[test]
    fn arguments_that_disagree_are_an_error() {
        let (one, other) = (hex('d', Algorithm::Sha256), hex('e', Algorithm::Sha256));
        for cmdline in [
            format!("composefs={one} composefs={other}"),
            format!("composefs={one} composefs.digest=v1-sha256-12:{other}"),
            // The weaker one must not win, and neither must the stronger hide a mistake.
            format!("composefs={one} composefs=?{one}"),
        ] {
            assert!(matches!(parse(&cmdline), Err(CmdlineError::Conflict(..))), "{cmdline}");
        }
        let same = format!("composefs={one} composefs.digest=v1-sha256-12:{one}");
        assert_eq!(parse(&same), Ok(required('d', Algorithm::Sha256)));
    }

    #[test]
    fn an_argument_inside_quotes_of_another_does_not_count() {
        let digest = hex('f', Algorithm::Sha256);
        assert_eq!(parse(&format!("x=\"a composefs={digest}\"")), Err(CmdlineError::Missing));
    }
}
