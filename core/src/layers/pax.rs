//! Extended headers of tar (POSIX.1-2017, pax, "pax Extended Header"), and GNU tar's long names.
//!
//! The tar crate takes records apart at line breaks; values of attributes, such as file capabilities, may hold the very byte. So records are
//! read here by their lengths. One that is malformed is an error: half of a name or a size would be another file.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use crate::{
    error::{Error, Result},
    etc_merge::Xattrs,
};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What stands before an entry and is about it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// Its path, if the header has no room for it.
    pub path: Option<OsString>,
    /// The target of its link, likewise.
    pub link: Option<OsString>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Extensions {
    /// Adds the content of an extended header.
    ///
    /// # Errors
    /// `InvalidInput` if it is malformed.
    pub fn add_pax(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let (key, value, rest) =
                record(data).ok_or_else(|| Error::invalid("a pax header in the layer is malformed"))?;
            match key {
                b"path" => self.path = Some(OsStr::from_bytes(value).to_owned()),
                b"linkpath" => self.link = Some(OsStr::from_bytes(value).to_owned()),
                _ => drop(self.records.insert(key.to_vec(), value.to_vec())),
            }
            data = rest;
        }
        Ok(())
    }

    /// Attributes of the entry.
    pub fn xattrs(&self) -> Xattrs {
        let named = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            Some((OsString::from_vec(key.strip_prefix(XATTR)?.to_vec()), value.clone()))
        };
        self.records.iter().filter_map(named).collect()
    }

    /// A number, such as `uid` or `size`.
    ///
    /// # Errors
    /// `InvalidInput` if it is there and not a number.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        self.text(key)?.map(|text| text.parse().map_err(|_| bad(key, text))).transpose()
    }

    /// Seconds and nanoseconds of a time, such as `mtime` (`1700000000.25`); those before 1970 count as 1970.
    ///
    /// # Errors
    /// `InvalidInput` if it is there and not a time.
    pub fn time(&self, key: &str) -> Result<Option<(i64, u32)>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if text.starts_with('-') {
            return Ok(Some((0, 0)));
        }
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let time = seconds.parse().ok().zip(digits.parse().ok());
        time.map(Some).ok_or_else(|| bad(key, text))
    }

    /// Whether the file is stored with its holes left out, in one of GNU tar's ways.
    pub fn is_sparse(&self) -> bool {
        self.records.keys().any(|key| key.starts_with(b"GNU.sparse."))
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        let Some(value) = self.records.get(key.as_bytes()) else { return Ok(None) };
        std::str::from_utf8(value).map(Some).map_err(|_| bad(key, &String::from_utf8_lossy(value)))
    }
}

fn bad(key: &str, text: &str) -> Error {
    Error::invalid(format!("a pax header in the layer has the {key} {text:?}"))
}

/// Key and value of the first record, and what follows it: `<length> <key>=<value>\n`, the length that of all of it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(data.get(..space)?).ok()?.parse().ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((body.get(..equals)?, body.get(equals + 1..)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Extensions> {
        let mut extensions = Extensions::default();
        extensions.add_pax(data).map(|()| extensions)
    }

    fn written(records: &[(&str, &[u8])]) -> Extensions {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions(records.iter().copied()).unwrap();
        let bytes = tar.into_inner().unwrap();
        let size = tar::Header::from_byte_slice(bytes[..512].try_into().unwrap()).entry_size().unwrap();
        read(&bytes[512..512 + usize::try_from(size).unwrap()]).unwrap()
    }

    #[test]
    fn a_value_may_hold_a_line_break() {
        let found = written(&[("SCHILY.xattr.security.x", b"a\nb\0"), ("uid", b"70000")]);
        assert_eq!(found.xattrs().get(OsStr::new("security.x")).unwrap(), b"a\nb\0");
        assert_eq!(found.number("uid").unwrap(), Some(70000));
    }

    #[test]
    fn times_have_fractions() {
        let time = |text: &str| written(&[("mtime", text.as_bytes())]).time("mtime");
        assert_eq!(time("12.00250").unwrap(), Some((12, 2_500_000)));
        assert_eq!(time("12").unwrap(), Some((12, 0)));
        assert_eq!(time("-3.5").unwrap(), Some((0, 0)));
        assert!(time("noon").is_err() && time("1.x").is_err());
    }

    #[test]
    fn malformed_records_are_errors() {
        for bad in ["x", "6 a=\n", "9 a=bcd\n", "99 path=x\n", "9 path x\n", "11 path=abcd"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(written(&[("uid", b"x1")]).number("uid").is_err());
    }
}
