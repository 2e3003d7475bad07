//! Root arguments: how a kernel command line names a composefs root.
//!
//! Two forms exist (composefs-boot, `cmdline.rs`): `composefs=<hex>` for the second EROFS format and
//! `composefs.digest=v<format>-<hash>-<block size>:<hex>` for any. A `?` before the value makes fs-verity optional.

use bootwright_core::{
    error::{Error, Result},
    model::{KernelArg, KernelCmdline},
};
use composefs::{erofs::format::FormatVersion, fsverity::Algorithm};

const LEGACY_KEY: &str = "composefs";
const DIGEST_KEY: &str = "composefs.digest";

/// One root argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootArg {
    /// Hash of the repository that it was made for.
    pub algorithm: Algorithm,
    /// The EROFS format of the image that it names, 1 or 2.
    pub format: u8,
    /// fs-verity digest of that image, in hex.
    pub hex: String,
    /// Whether the root may be mounted without fs-verity.
    pub optional: bool,
}

impl RootArg {
    /// The argument for an image of this format.
    pub fn new(algorithm: Algorithm, version: FormatVersion, hex: String, optional: bool) -> Self {
        let format = if version == FormatVersion::V2 { 2 } else { 1 };
        Self { algorithm, format, hex, optional }
    }

    /// Every root argument of a command line, in order.
    ///
    /// # Errors
    /// `InvalidInput` for one that cannot be understood: what it demands is unknown then.
    pub fn all(cmdline: &KernelCmdline) -> Result<Vec<Self>> {
        let ours = cmdline.iter().filter(|arg| [LEGACY_KEY, DIGEST_KEY].contains(&arg.key()));
        ours.map(Self::parse).collect()
    }

    fn parse(arg: &KernelArg) -> Result<Self> {
        let value = arg.value().unwrap_or_default();
        let (value, optional) = match value.strip_prefix('?') {
            Some(rest) => (rest, true),
            None => (value, false),
        };
        let parsed = if arg.key() == LEGACY_KEY { legacy(value) } else { descriptor(value) };
        let (algorithm, format, hex) = parsed.ok_or_else(|| {
            Error::invalid(format!("{arg} does not name a composefs root")).with_hint(
                "known forms are composefs=<hex> and composefs.digest=v1-sha256-12:<hex>, with sha256 or sha512",
            )
        })?;
        Ok(Self { algorithm, format, hex: hex.to_owned(), optional })
    }

    /// The argument as it stands on a command line.
    pub fn to_arg(&self) -> Result<KernelArg> {
        let mark = if self.optional { "?" } else { "" };
        KernelArg::new(match self.format {
            2 => format!("{LEGACY_KEY}={mark}{}", self.hex),
            format => format!("{DIGEST_KEY}={mark}v{format}-{}:{}", self.algorithm.verity_suffix(), self.hex),
        })
    }
}

fn legacy(hex: &str) -> Option<(Algorithm, u8, &str)> {
    let algorithm = match hex.len() {
        64 => Algorithm::SHA256,
        128 => Algorithm::SHA512,
        _ => return None,
    };
    is_hex(hex).then_some((algorithm, 2, hex))
}

fn descriptor(value: &str) -> Option<(Algorithm, u8, &str)> {
    let (described, hex) = value.split_once(':')?;
    let (format, hash) = described.split_once('-')?;
    let format = match format {
        "v1" => 1,
        "v2" => 2,
        _ => return None,
    };
    let (algorithm, length) = match hash {
        "sha256-12" => (Algorithm::SHA256, 64),
        "sha512-12" => (Algorithm::SHA512, 128),
        _ => return None,
    };
    (hex.len() == length && is_hex(hex)).then_some((algorithm, format, hex))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Result<RootArg> {
        let mut all = RootArg::all(&KernelCmdline::parse_lossy(text))?;
        assert_eq!(all.len(), 1, "{text}");
        Ok(all.remove(0))
    }

    /// spec: BW-313
    #[test]
    fn both_forms_read_back_what_they_print() {
        let short = "a".repeat(64);
        let long = "b".repeat(128);
        for text in [
            format!("composefs={short}"),
            format!("composefs=?{long}"),
            format!("composefs.digest=v1-sha256-12:{short}"),
            format!("composefs.digest=?v1-sha512-12:{long}"),
        ] {
            assert_eq!(only(&text).unwrap().to_arg().unwrap().as_str(), text);
        }
    }

    /// spec: BW-313
    #[test]
    fn an_argument_that_cannot_be_understood_is_an_error_not_absent() {
        for bad in [
            "composefs",
            "composefs=",
            "composefs=abc",
            "composefs.digest=v3-sha256-12:aa",
            "composefs.digest=v1-sha256-12:",
        ] {
            RootArg::all(&KernelCmdline::parse_lossy(bad)).unwrap_err();
        }
    }

    #[test]
    fn other_arguments_are_passed_over() {
        let line = KernelCmdline::parse_lossy("quiet composefs_x=1 root=LABEL=a");
        assert!(RootArg::all(&line).unwrap().is_empty());
    }
}
