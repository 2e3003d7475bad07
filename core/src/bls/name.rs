//! File names of entries, with boot counters (systemd, "Automatic Boot Assessment").

use std::fmt;

/// A boot counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tries {
    /// How often the loader will still try the entry by itself.
    pub left: u32,
    /// How often it has been tried.
    pub done: u32,
}

/// The name of an entry file, `<stem>[+<left>[-<done>]].conf`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryName {
    /// The name without counter and suffix: what stays the same while the entry is tried.
    pub stem: String,
    /// The counter, if the entry is being counted.
    pub tries: Option<Tries>,
}

/// The suffix of entry files; FAT does not care about its case.
const SUFFIX: &str = ".conf";

impl EntryName {
    /// A name without a counter.
    pub fn new(stem: impl Into<String>) -> Self {
        Self { stem: stem.into(), tries: None }
    }

    /// Reads a file name, or returns `None` if the loader would pass this file over: no `.conf` suffix, a leading dot, or the
    /// prefix `auto-`, which is reserved for entries that the loader makes itself.
    ///
    /// A counter is what follows the last plus sign; anything malformed there belongs to the stem.
    pub fn parse(file: &str) -> Option<Self> {
        let cut = file.len().checked_sub(SUFFIX.len())?;
        let (body, suffix) = (file.get(..cut)?, file.get(cut..)?);
        let reserved = file.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("auto-"));
        if !suffix.eq_ignore_ascii_case(SUFFIX) || file.starts_with('.') || reserved {
            return None;
        }
        Some(match body.rsplit_once('+').and_then(|(stem, counter)| Some((stem, parse_counter(counter)?))) {
            Some((stem, tries)) => Self { stem: stem.to_owned(), tries: Some(tries) },
            None => Self::new(body),
        })
    }

    /// The loader's name for the entry: the file name without its counter. What `LoaderEntryOneShot` takes.
    pub fn id(&self) -> String {
        format!("{}{SUFFIX}", self.stem)
    }

    /// Whether every try was used up.
    pub fn is_exhausted(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tries {
            None => write!(f, "{}{SUFFIX}", self.stem),
            Some(Tries { left, done: 0 }) => write!(f, "{}+{left}{SUFFIX}", self.stem),
            Some(Tries { left, done }) => write!(f, "{}+{left}-{done}{SUFFIX}", self.stem),
        }
    }
}

fn parse_counter(text: &str) -> Option<Tries> {
    let (left, done) = match text.split_once('-') {
        Some((left, done)) => (number(left)?, number(done)?),
        None => (number(text)?, 0),
    };
    Some(Tries { left, done })
}

/// Digits only (`u32::from_str` would take a plus sign), and no more than the loader's `INT_MAX`.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&n: &u32| digits && n <= i32::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_read_as_the_loader_reads_them() {
        let table = [
            ("a.conf", Some(("a", None))),
            ("a+3.conf", Some(("a", Some((3, 0))))),
            ("a+2-1.conf", Some(("a", Some((2, 1))))),
            ("a+0-3.CONF", Some(("a", Some((0, 3))))),
            ("a+b+3.conf", Some(("a+b", Some((3, 0))))),
            ("a+.conf", Some(("a+", None))),
            ("a+3-.conf", Some(("a+3-", None))),
            ("a+3x.conf", Some(("a+3x", None))),
            ("a++3.conf", Some(("a+", Some((3, 0))))),
            ("a+99999999999.conf", Some(("a+99999999999", None))),
            (".a.conf", None),
            ("auto-windows.conf", None),
            ("a.conf.bak", None),
            ("conf", None),
            ("ü.conf", Some(("ü", None))),
            ("üxconf", None),
        ];
        for (file, want) in table {
            let got = EntryName::parse(file);
            let got = got.as_ref().map(|n| (n.stem.as_str(), n.tries.map(|t| (t.left, t.done))));
            assert_eq!(got, want, "{file}");
        }
    }

    proptest! {
        #[test]
        fn any_name_reads_without_panic_and_prints_back(name in ".{0,30}(\\+[0-9]{0,3}(-[0-9]{0,2})?)?(\\.conf)?") {
            if let Some(parsed) = EntryName::parse(&name) {
                prop_assert_eq!(EntryName::parse(&parsed.to_string()), Some(parsed));
            }
        }
    }
}
