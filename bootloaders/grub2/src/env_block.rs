//! GRUB's environment block: variables in a file of fixed size that GRUB overwrites in place (GRUB manual, "Environment block").
//!
//! Whatever the file holds, reading never fails: what is not a block has no variables, and [`EnvBlock::is_valid`] says so.

use std::collections::BTreeMap;

/// Length of the file in bytes: `GRUB_ENVBLK_DEFCFG` is followed by `#` up to here.
pub const SIZE: usize = 1024;
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// The variables of an environment block, in order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvBlock {
    variables: BTreeMap<String, String>,
    valid: bool,
}

impl EnvBlock {
    /// An empty block.
    pub fn new() -> Self {
        Self { variables: BTreeMap::new(), valid: true }
    }

    /// Reads a file. Lines that are no assignment are passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let Some(body) = bytes.strip_prefix(SIGNATURE) else { return Self::default() };
        let mut block = Self { variables: BTreeMap::new(), valid: bytes.len() == SIZE };
        for line in logical_lines(body) {
            let Some((name, value)) = line.split_once('=').filter(|(name, _)| is_name(name)) else {
                continue;
            };
            block.variables.insert(name.to_owned(), value.to_owned());
        }
        block
    }

    /// Whether GRUB could save to the file that this came from.
    pub fn is_valid(&self) -> bool {
        self.valid
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Keeps the variables for which `keep` is true.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.variables.retain(|name, _| keep(name));
    }

    /// The file; `None` if the variables do not fit.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = SIGNATURE.to_vec();
        for (name, value) in &self.variables {
            let value = value.replace('\\', "\\\\").replace('\n', "\\\n");
            bytes.extend_from_slice(format!("{name}={value}\n").as_bytes());
        }
        (bytes.len() <= SIZE).then(|| {
            bytes.resize(SIZE, b'#');
            bytes
        })
    }
}

/// What scripts call variables; nothing that would have to be escaped when it is written again.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(allowed)
}

/// Lines with escapes resolved: a backslash keeps the character behind it, also a line end. Filling and comments are left out.
fn logical_lines(body: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = body.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => lines.push(std::mem::take(&mut line)),
            b'\\' => line.extend(bytes.next()),
            other => line.push(other),
        }
    }
    let text = lines.into_iter().filter(|line| line.first() != Some(&b'#'));
    text.map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_block_has_no_variables_and_is_not_valid() {
        for bad in [&b""[..], b"x=1\n", b"# GRUB Environment", &[0xff; SIZE]] {
            let block = EnvBlock::parse(bad);
            assert!(!block.is_valid() && block.variables.is_empty());
        }
    }

    #[test]
    fn a_truncated_block_gives_its_variables_and_is_not_valid() {
        let mut block = EnvBlock::new();
        block.set("a", "1");
        let bytes = block.to_bytes().unwrap();
        let read = EnvBlock::parse(&bytes[..500]);
        assert_eq!((read.get("a"), read.is_valid()), (Some("1"), false));
        assert!(EnvBlock::parse(&bytes).is_valid());
    }

    #[test]
    fn too_many_variables_do_not_fit() {
        let mut block = EnvBlock::new();
        block.set("a", &"x".repeat(SIZE));
        assert_eq!(block.to_bytes(), None);
    }

    proptest! {
        #[test]
        fn every_variable_reads_back(name in "[a-z_][a-z0-9_]{0,20}", value in "(?s).{0,40}") {
            let mut block = EnvBlock::new();
            block.set(&name, &value);
            let bytes = block.to_bytes().unwrap();
            prop_assert_eq!(bytes.len(), SIZE);
            prop_assert_eq!(EnvBlock::parse(&bytes), block);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let whole = [SIGNATURE, &bytes].concat();
            let _ = (EnvBlock::parse(&bytes), EnvBlock::parse(&whole));
        }
    }

    #[test]
    fn a_name_that_could_not_be_written_again_is_no_variable() {
        let mut bytes = b"# GRUB Environment Block\na\\\nb=1\nc=2\n".to_vec();
        bytes.resize(SIZE, b'#');
        let block = EnvBlock::parse(&bytes);
        assert_eq!(block.get("c"), Some("2"));
        let printed = block.to_bytes().unwrap();
        assert_eq!(EnvBlock::parse(&printed).to_bytes(), Some(printed));
    }
}
