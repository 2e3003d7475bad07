//! Small text files that say themselves whether they are whole: their last line is a comment with the digest of all before it.

use sha2::{Digest as _, Sha256};

use crate::model::Digest;

const MARK: &str = "# sha256 ";

/// The text with its seal: a line that readers take for a comment.
pub fn seal(text: &str) -> String {
    format!("{text}{MARK}{}\n", hex::encode(Sha256::digest(text.as_bytes())))
}

/// What is in front of the seal; `None` if there is no seal, or it is not that of this text.
pub fn unseal(content: &[u8]) -> Option<&str> {
    let content = std::str::from_utf8(content).ok()?;
    let (text, seal) = content.split_at_checked(content.rfind(MARK)?)?;
    (self::seal(text) == content && !seal.is_empty()).then_some(text)
}

/// A comment that names a file and its content.
pub fn file_line(path: &str, digest: &Digest) -> String {
    format!("# file {digest} {path}\n")
}

/// What the lines of [`file_line`] in a text say.
pub fn file_lines(text: &str) -> Vec<(String, Digest)> {
    let parsed = text.lines().filter_map(|line| {
        let (digest, path) = line.strip_prefix("# file ")?.split_once(' ')?;
        Some((path.to_owned(), Digest::new(digest).ok()?))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// spec: BW-620
    #[test]
    fn every_changed_bit_and_every_cut_breaks_a_seal() {
        let digest = Digest::from_sha256([7; 32]);
        let text = format!("title x\noptions a=b\n{}", file_line("/k", &digest));
        let sealed = seal(&text).into_bytes();
        assert_eq!(unseal(&sealed), Some(text.as_str()));
        assert_eq!(file_lines(&text), [("/k".to_owned(), digest)]);
        for place in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[place] ^= 1 << bit;
                assert_eq!(unseal(&changed), None, "byte {place}, bit {bit}");
            }
            assert_eq!(unseal(&sealed[..place]), None);
        }
        assert_eq!(unseal(&[&sealed[..], b"x"].concat()), None);
    }
}
