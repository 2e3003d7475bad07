//! Names that end up in file names, boot entries and JSON: checked once, when made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// FAT long names hold 255 UTF-16 units; entry files add a prefix, a generation and a counter to an id.
const MAX_LEN: usize = 180;

fn check(what: &str, text: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > MAX_LEN || text.starts_with('.') || !text.chars().all(allowed) {
        return Err(Error::invalid(format!("{text:?} is not a valid {what}")).with_hint(format!(
            "use 1 to {MAX_LEN} of the characters A-Z a-z 0-9 . - _, not starting with a dot"
        )));
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and wraps it.
            ///
            /// # Errors
            /// `InvalidInput` if it is empty, longer than 180 bytes, starts with a dot or holds any
            /// character other than ASCII letters, digits, `.`, `-` and `_`.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name_type!(
    /// Names one deployment: one tree together with one kernel. Made by the backend, opaque to everybody else.
    DeploymentId, "deployment id");
name_type!(
    /// Names one boot entry as its bootloader knows it (a file stem, a boot option). Opaque to everybody else.
    EntryId, "boot entry id");
name_type!(
    /// The stateroot: the named home of `/var`, shared by all its deployments.
    Stateroot, "stateroot name");

impl Default for Stateroot {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", ".hidden", "a b", "ü", "a\0b", &"x".repeat(181)] {
            assert!(DeploymentId::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_digest_with_a_suffix_is_a_valid_id() {
        assert!(DeploymentId::new(format!("{}-0123456789ab", "a".repeat(128))).is_ok());
    }

    #[test]
    fn deserialising_checks_too() {
        assert!(serde_json::from_str::<EntryId>("\"../x\"").is_err());
    }
}
