//! Kernel command lines: parse, compare, change, print.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One kernel argument, `key` or `key=value`, as it stands on the command line.
///
/// The value is kept verbatim; quotes around white space belong to it (kernel,
/// Documentation/admin-guide/kernel-parameters.rst: "double-quotes can be used to protect spaces in values").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelArg(String);

impl KernelArg {
    /// Checks one argument.
    ///
    /// # Errors
    /// `InvalidInput` if it is empty, holds control characters, white space outside double quotes, or an unclosed quote.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let single = split(&text).eq([text.as_str()]);
        if single && is_clean(&text) {
            return Ok(Self(text));
        }
        Err(Error::invalid(format!("{text:?} is not one kernel argument"))
            .with_hint("quote values with spaces: key=\"a value\""))
    }

    /// The part before the first `=`, or all of it.
    pub fn key(&self) -> &str {
        self.0.split_once('=').map_or(&self.0, |(key, _)| key)
    }

    /// The part after the first `=`, if there is one.
    pub fn value(&self) -> Option<&str> {
        self.0.split_once('=').map(|(_, value)| value)
    }

    /// Whether it sets `key` for a reader that drops quotes wherever they stand, as systemd and early boot do: `"key=a b"` does, and
    /// so does `k"e"y=a`. What decides about the root asks this, so that quotes hide nothing.
    pub fn sets(&self, key: &str) -> bool {
        self.key().chars().filter(|c| *c != '"').eq(key.chars())
    }

    /// The argument as it stands.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control) && has_closed_quotes(text)
}

fn has_closed_quotes(text: &str) -> bool {
    text.matches('"').count().is_multiple_of(2)
}

impl fmt::Display for KernelArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KernelArg {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<KernelArg> for String {
    fn from(arg: KernelArg) -> Self {
        arg.0
    }
}

/// A kernel command line: an ordered list of arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelCmdline(Vec<KernelArg>);

impl KernelCmdline {
    /// An empty command line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a command line as the kernel gives or a boot entry holds it.
    ///
    /// Lenient, because it comes from outside: NULs and control characters separate arguments, and an unclosed quote ends with the
    /// line, as it does for the kernel. It is closed here, so that it cannot swallow arguments which are appended later.
    pub fn parse_lossy(text: &str) -> Self {
        let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if !has_closed_quotes(&clean) {
            clean.push('"');
        }
        Self(split(&clean).map(|arg| KernelArg(arg.to_owned())).collect())
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &KernelArg> {
        self.0.iter()
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends one argument.
    pub fn push(&mut self, arg: KernelArg) {
        self.0.push(arg);
    }

    /// All values of `key`, in order; arguments without a value are passed over.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |arg| arg.key() == key).filter_map(KernelArg::value)
    }

    /// Whether this very argument is present.
    pub fn contains(&self, arg: &KernelArg) -> bool {
        self.0.contains(arg)
    }

    /// Whether every argument of `other` is present here.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|arg| self.contains(arg))
    }

    /// This command line followed by those arguments of `other` that it does not have yet.
    #[must_use]
    pub fn merged_with(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        for arg in &other.0 {
            if !merged.contains(arg) {
                merged.push(arg.clone());
            }
        }
        merged
    }

    /// This command line without any argument that stands in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|arg| !other.contains(arg)).cloned().collect())
    }

    /// Removes every argument with this key and returns whether there was one.
    pub fn remove_key(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|arg| arg.key() != key);
        self.0.len() != before
    }
}

/// Splits at white space outside double quotes: that of ASCII, as systemd and early boot do.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|part| !part.is_empty())
}

impl fmt::Display for KernelCmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.0.iter().enumerate() {
            write!(f, "{}{arg}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl FromStr for KernelCmdline {
    type Err = Error;

    /// Strict form for text that people or images supply.
    fn from_str(text: &str) -> Result<Self> {
        split(text).map(KernelArg::new).collect::<Result<_>>().map(Self)
    }
}

impl FromIterator<KernelArg> for KernelCmdline {
    fn from_iter<T: IntoIterator<Item = KernelArg>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_protect_spaces() {
        let line: KernelCmdline = "a=1  b=\"x y\" c".parse().unwrap();
        assert_eq!(line.iter().map(KernelArg::as_str).collect::<Vec<_>>(), ["a=1", "b=\"x y\"", "c"]);
    }

    #[test]
    fn an_unclosed_quote_is_refused_from_people_and_survives_from_outside() {
        assert!("a=\"b c".parse::<KernelCmdline>().is_err());
        assert_eq!(KernelCmdline::parse_lossy("a=\"b c").to_string(), "a=\"b c\"");
    }

    /// Found while its fuzz target was written: the root argument behind such a quote was no longer an argument.
    #[test]
    fn an_unclosed_quote_from_outside_does_not_swallow_what_is_appended() {
        let merged = KernelCmdline::parse_lossy("a=\"b").merged_with(&"root=x".parse().unwrap());
        assert_eq!(KernelCmdline::parse_lossy(&merged.to_string()), merged);
        assert_eq!(merged.values("root").collect::<Vec<_>>(), ["x"]);
    }

    /// Found while its fuzz target was written: a record with such an argument was written, and damaged when it was read.
    #[test]
    fn what_was_read_from_outside_can_be_recorded() {
        let line = KernelCmdline::parse_lossy("quiet a=\"b c");
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<KernelCmdline>(&json).unwrap(), line);
    }

    #[test]
    fn quotes_do_not_hide_a_key_from_whoever_asks_what_is_set() {
        let line = KernelCmdline::parse_lossy("a=1 \"b=x y\" c\"d\"=2 xe=3 \"f g\"=1");
        let set = |key| line.iter().any(|arg| arg.sets(key));
        assert!(
            ["a", "b", "cd", "xe", "f g"].into_iter().all(set) && !["e", "f", "b=x y"].into_iter().any(set)
        );
    }

    /// Found while its fuzz target was written: early boot took for one word what was two arguments here.
    #[test]
    fn white_space_beyond_ascii_separates_nothing() {
        let line = KernelCmdline::parse_lossy("a=1\u{3000}b \u{a0}c");
        assert_eq!(line.iter().map(KernelArg::as_str).collect::<Vec<_>>(), ["a=1\u{3000}b", "\u{a0}c"]);
    }

    #[test]
    fn merging_adds_only_what_is_missing() {
        let base: KernelCmdline = "rw quiet".parse().unwrap();
        assert_eq!(base.merged_with(&"quiet x=1".parse().unwrap()).to_string(), "rw quiet x=1");
    }

    proptest! {
        #[test]
        fn any_text_parses_without_panic_and_settles_after_one_round(text in ".{0,200}") {
            let once = KernelCmdline::parse_lossy(&text);
            prop_assert_eq!(KernelCmdline::parse_lossy(&once.to_string()), once);
        }
    }
}
