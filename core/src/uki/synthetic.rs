//! Tiny PE images for tests: no firmware would run them, but every reader and writer takes them for what they are.

use super::layout::{Placement, append_headers};

const NT_OFFSET: usize = 0x80;
const OPTIONAL_SIZE: usize = 240;
const FILE_ALIGNMENT: usize = 0x200;
const HEADERS_SIZE: usize = 0x600;

/// A PE32+ image for x86-64 with one section, `.text`, and room for more section headers: it stands in for the systemd stub.
pub fn stub() -> Vec<u8> {
    let mut bytes = vec![0; HEADERS_SIZE + FILE_ALIGNMENT];
    let mut put = |offset: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
            place.copy_from_slice(value);
        }
    };
    let optional = NT_OFFSET + 24;
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(NT_OFFSET, b"PE\0\0");
    put(NT_OFFSET + 4, &0x8664_u16.to_le_bytes());
    put(NT_OFFSET + 6, &1_u16.to_le_bytes());
    put(NT_OFFSET + 20, &240_u16.to_le_bytes());
    put(NT_OFFSET + 22, &0x22e_u16.to_le_bytes());
    put(optional, &0x20b_u16.to_le_bytes());
    put(optional + 32, &0x1000_u32.to_le_bytes());
    put(optional + 36, &0x200_u32.to_le_bytes());
    put(optional + 44, &257_u16.to_le_bytes());
    put(optional + 56, &0x2000_u32.to_le_bytes());
    put(optional + 60, &0x600_u32.to_le_bytes());
    put(optional + 68, &10_u16.to_le_bytes());
    put(optional + 70, &0x160_u16.to_le_bytes());
    put(optional + 108, &16_u32.to_le_bytes());
    let section = optional + OPTIONAL_SIZE;
    put(section, b".text\0\0\0");
    put(section + 8, &16_u32.to_le_bytes());
    put(section + 12, &0x1000_u32.to_le_bytes());
    put(section + 16, &0x200_u32.to_le_bytes());
    put(section + 20, &0x600_u32.to_le_bytes());
    put(section + 36, &0x6000_0020_u32.to_le_bytes());
    put(HEADERS_SIZE, &[0xc3; 16]);
    bytes
}

/// [`stub`] with these sections behind it, in this order.
pub fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = stub();
    let wanted: Vec<_> = sections
        .iter()
        .map(|(name, content)| Placement {
            name: (*name).to_owned(),
            size: content.len() as u64,
            code: false,
        })
        .collect();
    // The stub above has room for many headers; without room the image simply has none of the sections.
    if append_headers(&mut bytes, &wanted).is_ok() {
        for (_, content) in sections {
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(FILE_ALIGNMENT), 0);
        }
    }
    bytes
}
