//! The text of an entry: reader and writer.

use std::fmt;

use crate::model::KernelCmdline;

/// What an entry starts. Where a file names several, the last one counts, as in systemd-boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A Linux kernel image; the entry's options are its command line.
    Linux(String),
    /// An EFI program. Without options it gets no load options at all, so a UKI uses its embedded command line.
    Efi(String),
    /// A UKI; known to systemd-boot since version 258.
    Uki(String),
}

impl Program {
    /// The path on the entry's own partition, as written.
    pub fn path(&self) -> &str {
        match self {
            Self::Linux(path) | Self::Efi(path) | Self::Uki(path) => path,
        }
    }
}

/// A Type #1 entry. Keys that the specification does not name are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Menu title.
    pub title: Option<String>,
    /// Version; newer ones come first among equal sort keys.
    pub version: Option<String>,
    /// Machine id of the installation that it belongs to.
    pub machine_id: Option<String>,
    /// Sort key; entries that have one come before those that do not.
    pub sort_key: Option<String>,
    /// Architecture in EFI's words; entries for another one are hidden.
    pub architecture: Option<String>,
    /// What it starts.
    pub program: Option<Program>,
    /// Initrds, in order.
    pub initrds: Vec<String>,
    /// Device tree blob.
    pub devicetree: Option<String>,
    /// Kernel arguments; each `options` line is one item.
    pub options: Vec<String>,
}

impl Entry {
    /// Reads any bytes. Lines that make no sense are passed over; text ends at the first NUL, as in the loader.
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let mut entry = Self::default();
        for line in text.split(['\n', '\r']) {
            if let Some((key, value)) = split_line(line) {
                entry.set(key, value.to_owned());
            }
        }
        entry
    }

    fn set(&mut self, key: &str, value: String) {
        match key {
            "title" => self.title = Some(value),
            "version" => self.version = Some(value),
            "machine-id" => self.machine_id = Some(value),
            "sort-key" => self.sort_key = Some(value),
            "architecture" => self.architecture = Some(value),
            "linux" => self.program = Some(Program::Linux(value)),
            "efi" => self.program = Some(Program::Efi(value)),
            "uki" => self.program = Some(Program::Uki(value)),
            "initrd" => self.initrds.push(value),
            "devicetree" => self.devicetree = Some(value),
            "options" => self.options.push(value),
            _ => {}
        }
    }

    /// All `options` lines as one command line.
    pub fn cmdline(&self) -> KernelCmdline {
        KernelCmdline::parse_lossy(&self.options.join(" "))
    }

    /// Every path that the entry names: its program, initrds and device tree.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let program = self.program.iter().map(Program::path);
        program.chain(self.initrds.iter().map(String::as_str)).chain(self.devicetree.as_deref())
    }
}

/// Splits a line into key and value, or returns `None` for a blank line, a comment, or a key without a value.
fn split_line(line: &str) -> Option<(&str, &str)> {
    const BLANK: [char; 2] = [' ', '\t'];
    let line = line.trim_matches(BLANK);
    if line.starts_with('#') {
        return None;
    }
    let (key, value) = line.split_once(BLANK)?;
    Some((key, unquote(value.trim_start_matches(BLANK))))
}

/// systemd-boot drops one pair of quotes around a whole value.
fn unquote(value: &str) -> &str {
    ['"', '\''].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q)).unwrap_or(value)
}

impl fmt::Display for Entry {
    /// Writes the entry so that reading it back gives the same; control characters become spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: Option<&String>| match value {
            Some(value) => writeln!(f, "{key} {}", printable(value)),
            None => Ok(()),
        };
        line("title", self.title.as_ref())?;
        line("version", self.version.as_ref())?;
        line("machine-id", self.machine_id.as_ref())?;
        line("sort-key", self.sort_key.as_ref())?;
        line("architecture", self.architecture.as_ref())?;
        match &self.program {
            Some(Program::Linux(path)) => line("linux", Some(path))?,
            Some(Program::Efi(path)) => line("efi", Some(path))?,
            Some(Program::Uki(path)) => line("uki", Some(path))?,
            None => {}
        }
        self.initrds.iter().try_for_each(|path| line("initrd", Some(path)))?;
        line("devicetree", self.devicetree.as_ref())?;
        self.options.iter().try_for_each(|text| line("options", Some(text)))
    }
}

fn printable(value: &str) -> String {
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    // A value in quotes would lose them when read.
    if unquote(clean) == clean { clean.to_owned() } else { format!("\"{clean}\"") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_blank_lines_carriage_returns_and_unknown_keys_are_passed_over() {
        let entry = Entry::parse(
            b"# c\r\n\r\n  title\tA b \r\ngrub_users $x\r\nlinux /k\r\ninitrd /a\ninitrd /b\nlone\n",
        );
        assert_eq!(entry.title.as_deref(), Some("A b"));
        assert_eq!(entry.program, Some(Program::Linux("/k".into())));
        assert_eq!(entry.paths().collect::<Vec<_>>(), ["/k", "/a", "/b"]);
    }

    #[test]
    fn the_last_program_counts_and_options_add_up() {
        let entry = Entry::parse(b"linux /a\nefi /b\noptions x=1\noptions y=\"a b\"\n");
        assert_eq!(entry.program, Some(Program::Efi("/b".into())));
        assert_eq!(entry.cmdline().to_string(), "x=1 y=\"a b\"");
    }

    #[test]
    fn text_ends_at_a_nul() {
        assert_eq!(Entry::parse(b"title a\0b\nversion 1").version, None);
    }

    #[test]
    fn quotes_around_a_whole_value_survive_writing() {
        let entry = Entry { options: vec!["\"a b\"".into()], ..Entry::default() };
        assert_eq!(Entry::parse(entry.to_string().as_bytes()), entry);
    }

    #[test]
    fn a_title_cannot_smuggle_in_a_second_line() {
        let entry = Entry { title: Some("x\noptions init=/bin/sh".into()), ..Entry::default() };
        assert!(Entry::parse(entry.to_string().as_bytes()).options.is_empty());
    }

    /// Values as an entry can hold them: no control characters, no blanks at the ends, not empty.
    fn value() -> impl Strategy<Value = String> {
        "[!-~][ -~é]{0,20}[!-~]|[!-&(-~]"
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let once = Entry::parse(&bytes);
            let _ = Entry::parse(once.to_string().as_bytes());
        }

        #[test]
        fn what_is_written_reads_back(
            title in proptest::option::of(value()), sort_key in proptest::option::of(value()), path in value(),
            initrds in proptest::collection::vec(value(), 0..3), options in proptest::collection::vec(value(), 0..3),
        ) {
            let entry = Entry { title, sort_key, program: Some(Program::Efi(path)), initrds, options, ..Entry::default() };
            prop_assert_eq!(Entry::parse(entry.to_string().as_bytes()), entry);
        }
    }
}
