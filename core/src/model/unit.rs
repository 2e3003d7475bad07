//! Names of systemd units, as people are shown them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// systemd's own limit (`UNIT_NAME_MAX` in its src/basic/unit-name.h).
const MAX_LEN: usize = 255;
const KINDS: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// The name of a unit, `suite-check.service`: nothing in it moves a cursor or starts a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    /// Checks `text` and wraps it (systemd.unit(5)).
    ///
    /// # Errors
    /// `InvalidInput` if it is longer than 255 bytes, does not end in a kind of unit, or holds any character other than ASCII letters, digits,
    /// `:`, `-`, `_`, `.`, `\` and `@`.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
        let kind = text.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, kind)| kind);
        if text.len() <= MAX_LEN
            && text.chars().all(allowed)
            && kind.is_some_and(|kind| KINDS.contains(&kind))
        {
            return Ok(Self(text));
        }
        let shown: String = text.chars().take(MAX_LEN).collect();
        Err(Error::invalid(format!("{shown:?} is not the name of a systemd unit"))
            .with_hint("a name looks like health-check.service"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UnitName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_systemd_would_take_is_a_name() {
        for good in ["a.service", "dev-disk-by\\x2duuid-1.device", "getty@tty1.service", "my.app.timer"] {
            assert!(UnitName::new(good).is_ok(), "{good:?} was refused");
        }
        let long = format!("{}.service", "x".repeat(248));
        for bad in [
            "",
            "a",
            ".service",
            "a.exe",
            "a b.service",
            "a\n.service",
            "\u{1b}[2J.service",
            "ü.mount",
            &long,
        ] {
            assert!(UnitName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
