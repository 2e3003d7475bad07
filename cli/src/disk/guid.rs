//! GUIDs: the text form of people and programs, and the mixed-endian bytes of the partition table.

use std::{fmt, str::FromStr};

use bootwright_core::{Error, IoContext, Result};

/// A GUID. Kept in the byte order in which a GUID partition table stores it (UEFI specification, appendix A: the first
/// three fields are little-endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

/// Where each byte of the text form stands in the table.
const TEXT_TO_TABLE: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// All zero: an unused entry of the partition table.
    pub const NIL: Self = Self([0; 16]);

    /// From the bytes of a partition table.
    pub const fn from_table(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes for a partition table.
    pub const fn to_table(self) -> [u8; 16] {
        self.0
    }

    /// A new random GUID, from the kernel.
    ///
    /// # Errors
    /// `Io` if `/proc` is not mounted.
    pub fn random() -> Result<Self> {
        let path = "/proc/sys/kernel/random/uuid";
        std::fs::read_to_string(path).context_io(|| format!("read {path}"))?.trim().parse()
    }

    /// Lower-case text, as file system tools write it.
    pub fn to_lower(self) -> String {
        self.to_string().to_lowercase()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in TEXT_TO_TABLE.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02X}", self.0.get(index).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("{text:?} is not a GUID"));
        let lengths: Vec<_> = text.split('-').map(str::len).collect();
        if lengths != [8, 4, 4, 4, 12] || !text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let digits = text.replace('-', "");
        let mut table = [0; 16];
        for (position, index) in TEXT_TO_TABLE.into_iter().enumerate() {
            let pair = digits.get(position * 2..position * 2 + 2).ok_or_else(wrong)?;
            *table.get_mut(index).ok_or_else(wrong)? = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_fields_are_little_endian_in_the_table() {
        let esp: Guid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse().unwrap();
        assert_eq!(
            esp.to_table(),
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]
        );
        assert_eq!(esp.to_string(), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
    }

    #[test]
    fn text_that_is_not_a_guid_is_refused() {
        for bad in
            ["", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93", "g12a7328-f81f-11d2-ba4b-00a0c93ec93b"]
        {
            assert!(bad.parse::<Guid>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn random_guids_differ() {
        assert_ne!(Guid::random().unwrap(), Guid::random().unwrap());
    }
}
