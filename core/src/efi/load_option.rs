//! `Boot####` and `BootOrder`: load options and device paths, read and written (UEFI specification, sections 3.1.3 and 10.3).
//!
//! Pure functions. Variables come from firmware of any quality: whatever cannot be read is kept as bytes or refused, never a panic.

use crate::{
    context::PartitionIdentity,
    error::{Error, Result},
};

/// The load option takes part in booting (`LOAD_OPTION_ACTIVE`).
pub const ACTIVE: u32 = 1;

/// One node of a device path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A partition of a GUID partition table (section 10.3.5.1).
    Partition(PartitionIdentity),
    /// A file, with backslashes between names (section 10.3.5.4).
    File(String),
    /// Anything else, kept as it is.
    Other {
        /// Node type.
        kind: u8,
        /// Node subtype.
        subtype: u8,
        /// What follows its four bytes of header.
        data: Vec<u8>,
    },
}

const MEDIA: u8 = 4;
const HARD_DRIVE: u8 = 1;
const FILE: u8 = 4;
const END: u8 = 0x7f;
const END_ENTIRE: u8 = 0xff;
const FORMAT_GPT: u8 = 2;
const SIGNATURE_GUID: u8 = 2;

/// The value of a `Boot####` variable (`EFI_LOAD_OPTION`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// Attributes, such as [`ACTIVE`].
    pub attributes: u32,
    /// What firmware menus show.
    pub description: String,
    /// Where the program is, without the end node.
    pub path: Vec<Node>,
    /// Handed to the program as its load options. For a UKI they replace the embedded command line.
    pub optional: Vec<u8>,
}

impl LoadOption {
    /// An active option that starts `file` (`\EFI\Linux\x.efi`) on `partition`, in the short form that firmware completes
    /// by itself (section 3.1.2, "short-form device path").
    pub fn for_file(
        description: impl Into<String>,
        partition: PartitionIdentity,
        file: impl Into<String>,
    ) -> Self {
        Self {
            attributes: ACTIVE,
            description: description.into(),
            path: vec![Node::Partition(partition), Node::File(file.into())],
            optional: Vec::new(),
        }
    }

    /// Reads a variable's value.
    ///
    /// # Errors
    /// `InvalidInput` if it is cut short, its description does not end, or a node of its path has an impossible length.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let attributes = u32::from_le_bytes(take(&mut rest)?);
        let path_length = usize::from(u16::from_le_bytes(take(&mut rest)?));
        let description = take_utf16(&mut rest)?;
        let (path, optional) = rest.split_at_checked(path_length).ok_or_else(malformed)?;
        Ok(Self { attributes, description, path: parse_path(path)?, optional: optional.to_vec() })
    }

    /// The variable's value. Characters that do not fit are replaced: a NUL in a text becomes a space.
    ///
    /// # Errors
    /// `InvalidInput` if the device path does not fit into 65,535 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut path = Vec::new();
        for node in &self.path {
            write_node(&mut path, node)?;
        }
        path.extend_from_slice(&[END, END_ENTIRE, 4, 0]);
        let length = u16::try_from(path.len()).map_err(|_| malformed())?;
        let mut bytes = self.attributes.to_le_bytes().to_vec();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend(utf16(&self.description));
        bytes.extend(path);
        bytes.extend_from_slice(&self.optional);
        Ok(bytes)
    }

    /// The partition that the path names, if it names one.
    pub fn partition(&self) -> Option<&PartitionIdentity> {
        self.path.iter().find_map(|node| match node {
            Node::Partition(identity) => Some(identity),
            _ => None,
        })
    }

    /// The file that the path names; several nodes are joined (section 10.3.5.4 allows them).
    pub fn file(&self) -> Option<String> {
        let mut parts = self.path.iter().filter_map(|node| match node {
            Node::File(name) => Some(name.as_str()),
            _ => None,
        });
        let mut path = parts.next()?.to_owned();
        for part in parts {
            if !path.ends_with('\\') && !part.starts_with('\\') {
                path.push('\\');
            }
            path.push_str(part);
        }
        Some(path)
    }
}

fn parse_path(mut rest: &[u8]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    while !rest.is_empty() {
        let [kind, subtype, low, high] = take(&mut rest)?;
        let length = usize::from(u16::from_le_bytes([low, high])).checked_sub(4).ok_or_else(malformed)?;
        let (data, after) = rest.split_at_checked(length).ok_or_else(malformed)?;
        rest = after;
        if (kind, subtype) == (END, END_ENTIRE) {
            break;
        }
        nodes.push(parse_node(kind, subtype, data));
    }
    Ok(nodes)
}

fn parse_node(kind: u8, subtype: u8, data: &[u8]) -> Node {
    let known = match (kind, subtype) {
        (MEDIA, HARD_DRIVE) => parse_partition(data).map(Node::Partition),
        (MEDIA, FILE) => parse_file(data).map(Node::File),
        _ => None,
    };
    known.unwrap_or_else(|| Node::Other { kind, subtype, data: data.to_vec() })
}

fn parse_partition(mut data: &[u8]) -> Option<PartitionIdentity> {
    let identity = PartitionIdentity {
        number: u32::from_le_bytes(take(&mut data).ok()?),
        start: u64::from_le_bytes(take(&mut data).ok()?),
        size: u64::from_le_bytes(take(&mut data).ok()?),
        guid: take(&mut data).ok()?,
    };
    (data == [FORMAT_GPT, SIGNATURE_GUID]).then_some(identity)
}

/// Only what would be written back as the same bytes: one string, ended by the only NUL in it.
fn parse_file(mut data: &[u8]) -> Option<String> {
    let text = take_utf16(&mut data).ok()?;
    (data.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)).then_some(text)
}

fn write_node(out: &mut Vec<u8>, node: &Node) -> Result<()> {
    let (kind, subtype, data) = match node {
        Node::Partition(identity) => (MEDIA, HARD_DRIVE, partition_bytes(identity)),
        Node::File(name) => (MEDIA, FILE, utf16(name)),
        Node::Other { kind, subtype, data } => (*kind, *subtype, data.clone()),
    };
    let length = u16::try_from(data.len() + 4).map_err(|_| malformed())?;
    out.extend_from_slice(&[kind, subtype]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend(data);
    Ok(())
}

fn partition_bytes(identity: &PartitionIdentity) -> Vec<u8> {
    let mut data = identity.number.to_le_bytes().to_vec();
    data.extend_from_slice(&identity.start.to_le_bytes());
    data.extend_from_slice(&identity.size.to_le_bytes());
    data.extend_from_slice(&identity.guid);
    data.extend_from_slice(&[FORMAT_GPT, SIGNATURE_GUID]);
    data
}

fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().map(|unit| if unit == 0 { u16::from(b' ') } else { unit });
    units.chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or_else(malformed)?;
    *rest = tail;
    Ok(*head)
}

fn take_utf16(rest: &mut &[u8]) -> Result<String> {
    let mut units = Vec::new();
    loop {
        match u16::from_le_bytes(take(rest)?) {
            0 => return Ok(String::from_utf16_lossy(&units)),
            unit => units.push(unit),
        }
    }
}

fn malformed() -> Error {
    Error::invalid("malformed EFI load option")
}

/// Reads `BootOrder` (or `BootNext`, or `BootCurrent`): numbers of load options. A byte too many is passed over.
pub fn parse_numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?))).collect()
}

/// Writes `BootOrder` or `BootNext`.
pub fn numbers_to_bytes(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The name of the variable of a load option (section 3.3: four upper-case hex digits).
pub fn variable_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// The number in the name of a load option's variable; `None` for any other variable, such as `BootOrder`.
pub fn parse_variable_name(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("Boot")?;
    let valid = digits.len() == 4 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    u16::from_str_radix(digits, 16).ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `efibootmgr --create --disk … --part 1 --label L --loader '\a.efi'` writes it for a partition that starts
    /// at block 2048, is 1,048,576 blocks long, and has the GUID 00112233-4455-6677-8899-aabbccddeeff.
    const BY_HAND: &[u8] = &[
        0x01, 0x00, 0x00, 0x00, // active
        0x44, 0x00, // path: 42 + 22 + 4 = 68 bytes
        b'L', 0, 0, 0, // description
        0x04, 0x01, 0x2a, 0x00, // hard drive, 42 bytes
        0x01, 0x00, 0x00, 0x00, // partition 1
        0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // start
        0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, // size
        0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff, // GUID
        0x02, 0x02, // GPT, GUID
        0x04, 0x04, 0x16, 0x00, // file, 22 bytes
        b'\\', 0, b'E', 0, b'\\', 0, b'a', 0, b'.', 0, b'e', 0, b'f', 0, b'i', 0, 0, 0, // its path
        0x7f, 0xff, 0x04, 0x00, // end
    ];

    fn partition() -> PartitionIdentity {
        let guid =
            [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        PartitionIdentity { number: 1, start: 2048, size: 1 << 20, guid }
    }

    #[test]
    fn an_option_is_written_as_efibootmgr_writes_it() {
        let option = LoadOption::for_file("L", partition(), "\\E\\a.efi");
        assert_eq!(option.to_bytes().unwrap(), BY_HAND);
        assert_eq!(LoadOption::parse(BY_HAND).unwrap(), option);
        assert_eq!(option.file().as_deref(), Some("\\E\\a.efi"));
    }

    #[test]
    fn every_truncation_is_refused() {
        // Up to the path's end; what follows would be optional data.
        for end in 0..BY_HAND.len() {
            assert!(LoadOption::parse(&BY_HAND[..end]).is_err(), "{end} bytes were accepted");
        }
    }

    #[test]
    fn nodes_in_front_and_file_names_in_two_nodes_are_understood() {
        let mut option = LoadOption::for_file("x", partition(), "\\EFI");
        option.path.insert(0, Node::Other { kind: 2, subtype: 1, data: vec![1, 2, 3, 4, 5, 6, 7, 8] });
        option.path.push(Node::File("a.efi".into()));
        let read = LoadOption::parse(&option.to_bytes().unwrap()).unwrap();
        assert_eq!(read.file().as_deref(), Some("\\EFI\\a.efi"));
        assert_eq!(read.partition(), Some(&partition()));
    }

    #[test]
    fn a_node_shorter_than_its_own_header_is_refused() {
        let mut bytes = BY_HAND.to_vec();
        bytes[12] = 3;
        assert!(LoadOption::parse(&bytes).is_err());
    }

    #[test]
    fn only_four_upper_case_hex_digits_name_an_option() {
        for (name, number) in
            [("Boot0000", Some(0)), ("BootFFFF", Some(0xffff)), ("Boot00a0", None), ("BootOrder", None)]
        {
            assert_eq!(parse_variable_name(name), number, "{name}");
        }
        assert_eq!(variable_name(0x1a), "Boot001A");
    }

    #[test]
    fn an_odd_boot_order_keeps_its_whole_numbers() {
        assert_eq!(parse_numbers(&[1, 0, 2, 0, 3]), [1, 2]);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_panic_and_settle(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(option) = LoadOption::parse(&bytes) {
                let again = LoadOption::parse(&option.to_bytes().unwrap()).unwrap();
                prop_assert_eq!(again, option);
            }
        }

        #[test]
        fn a_damaged_option_never_panics(at in 0..BY_HAND.len(), value in any::<u8>()) {
            let mut bytes = BY_HAND.to_vec();
            bytes[at] = value;
            let _ = LoadOption::parse(&bytes);
        }

        #[test]
        fn what_is_written_reads_back(description in "[ -~é]{0,30}", file in "(\\\\[a-z.]{1,9}){1,4}", number in any::<u32>()) {
            let option = LoadOption::for_file(description, PartitionIdentity { number, ..partition() }, file);
            prop_assert_eq!(LoadOption::parse(&option.to_bytes().unwrap()).unwrap(), option);
        }
    }
}
