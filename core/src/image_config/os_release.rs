//! `os-release`: what a system calls itself (os-release(5)).

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    tree::{TreeReader, TreeReaderExt},
};

/// The fields of an `os-release` file; without one, those of a nameless Linux.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsRelease {
    fields: BTreeMap<String, String>,
}

/// In the order of os-release(5): what stands in `/etc` comes before the vendor's.
const PATHS: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

impl OsRelease {
    /// Reads the image's file; a nameless Linux if there is none.
    ///
    /// # Errors
    /// Those of [`OsRelease::parse`] and of the tree. For a title alone, going on with the default is better than giving up.
    pub async fn load(tree: &dyn TreeReader) -> Result<Self> {
        for path in PATHS {
            if let Some(text) = tree.read_text(path).await? {
                return Self::parse(path, &text);
            }
        }
        Ok(Self::default())
    }

    /// Reads the text of a file.
    ///
    /// Of a field that is given twice the last counts, as it does for a shell.
    ///
    /// # Errors
    /// `InvalidInput`, naming file and line: neither comment nor assignment, a name that is none, or a quote that does not end.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut fields = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = assignment(line).map_err(|why| {
                let number: usize = number;
                Error::invalid(format!("{file}, line {number}: {why}"))
            })?;
            fields.insert(name.to_owned(), value);
        }
        Ok(Self { fields })
    }

    /// A field by name; one that is empty counts as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// `ID`: the system in lower case, for sort keys and file names (`debian`; `linux` if not said).
    pub fn id(&self) -> &str {
        self.get("ID").unwrap_or("linux")
    }

    /// `PRETTY_NAME`, or `NAME`, or `Linux`: for people.
    pub fn pretty_name(&self) -> &str {
        self.get("PRETTY_NAME").or_else(|| self.get("NAME")).unwrap_or("Linux")
    }

    /// `VERSION_ID`: the release (`13`).
    pub fn version_id(&self) -> Option<&str> {
        self.get("VERSION_ID")
    }

    /// `IMAGE_ID`: which image, for systems that are built as such.
    pub fn image_id(&self) -> Option<&str> {
        self.get("IMAGE_ID")
    }

    /// `IMAGE_VERSION`: which build of the image.
    pub fn image_version(&self) -> Option<&str> {
        self.get("IMAGE_VERSION")
    }

    /// The most exact version: `IMAGE_VERSION`, else `VERSION_ID`, else `BUILD_ID`.
    pub fn version(&self) -> Option<&str> {
        self.image_version().or_else(|| self.version_id()).or_else(|| self.get("BUILD_ID"))
    }
}

/// One `NAME=value`.
fn assignment(line: &str) -> Result<(&str, String), String> {
    let (name, value) = line.split_once('=').ok_or("neither a comment nor an assignment (NAME=value)")?;
    let first = name.chars().next().unwrap_or('0');
    if first.is_ascii_digit() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("{name:?} is not a name: letters, digits and _ are"));
    }
    Ok((name, unquote(value)?))
}

/// Quotes and backslashes as a shell reads them, without any expansion.
fn unquote(text: &str) -> Result<String, String> {
    let mut value = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => value.push(c),
            (quote, '\\') => match chars.next() {
                // Between double quotes only these are special (POSIX, Shell Command Language, 2.2.3).
                Some(c) if quote.is_none() || matches!(c, '"' | '\\' | '$' | '`') => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => return Err("a backslash at the end of the line".to_owned()),
            },
            (None, c) if c.is_whitespace() => {
                return Err("white space outside quotes: write NAME=\"the value\"".to_owned());
            }
            (_, c) => value.push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote {open} does not end on this line")),
        None => Ok(value),
    }
}
