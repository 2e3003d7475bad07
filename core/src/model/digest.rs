//! Content digests as OCI writes them (`sha256:<hex>`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A content digest: algorithm and lower-case hex (OCI image specification, section "Digests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Checks `text`.
    ///
    /// # Errors
    /// `InvalidInput` unless it is `sha256:` with 64, or `sha512:` with 128, lower-case hex digits.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let hex_len = match text.split_once(':') {
            Some(("sha256", hex)) if is_hex(hex) => Some((hex.len(), 64)),
            Some(("sha512", hex)) if is_hex(hex) => Some((hex.len(), 128)),
            _ => None,
        };
        match hex_len {
            Some((have, want)) if have == want => Ok(Self(text)),
            _ => Err(Error::invalid(format!("{text:?} is not a digest"))
                .with_hint("write sha256:<64 hex digits> or sha512:<128 hex digits>, in lower case")),
        }
    }

    /// The SHA-256 digest of some content.
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        Self::from_sha256(Sha256::digest(content).into())
    }

    /// The SHA-256 digest with these 32 bytes.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(bytes)))
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hex digits alone.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lower_case_digests_are_accepted() {
        assert!(Digest::new(format!("sha256:{}", "a".repeat(64))).is_ok());
        for bad in ["", "sha256:", "sha256:AB", "md5:00", &format!("sha256:{}", "a".repeat(63))] {
            assert!(Digest::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
