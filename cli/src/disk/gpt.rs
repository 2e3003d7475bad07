//! Reads GUID partition tables: to find the ESP of a running system without any helper program, and to check what was written.

use std::os::unix::fs::FileExt;

use bootwright_core::{Error, IoContext, Result, context::PartitionIdentity};

use super::Guid;

/// One partition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its type.
    pub kind: Guid,
    /// Number, first sector, length in sectors, unique GUID.
    pub identity: PartitionIdentity,
    /// Its name, lossily.
    pub name: String,
}

/// UEFI specification, table 5-5: the signature, and least and most sensible sizes of what the header announces.
const SIGNATURE: &[u8] = b"EFI PART";
const HEADER_SIZES: std::ops::RangeInclusive<usize> = 92..=512;
const ENTRY_SIZES: std::ops::RangeInclusive<usize> = 128..=4096;
const MOST_ENTRIES: usize = 1024;

#[derive(Debug)]
struct Header {
    entries_at: u64,
    entry_size: usize,
    entry_count: usize,
    entries_crc: u32,
}

/// The partitions in the primary table of `disk`, by number, or `None` if there is no valid table.
///
/// `sector` is the logical sector size in bytes.
///
/// # Errors
/// As reading the disk fails.
pub fn read(disk: &impl FileExt, sector: u64) -> Result<Option<Vec<Partition>>> {
    let what = || "read the partition table".to_owned();
    let mut header = vec![0; 512];
    match disk.read_exact_at(&mut header, sector) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other.context_io(what)?,
    }
    let Some(header) = parse_header(&header) else { return Ok(None) };
    let Some(offset) = header.entries_at.checked_mul(sector) else { return Ok(None) };
    let mut entries = vec![0; header.entry_size * header.entry_count];
    match disk.read_exact_at(&mut entries, offset) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other.context_io(what)?,
    }
    Ok((crc32(&entries) == header.entries_crc).then(|| parse_entries(&entries, header.entry_size)))
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let size = u32_at(bytes, 12)? as usize;
    if !bytes.starts_with(SIGNATURE) || !HEADER_SIZES.contains(&size) {
        return None;
    }
    // The checksum is made over the header with its own field zero.
    let mut checked = bytes.get(..size)?.to_vec();
    checked.get_mut(16..20)?.fill(0);
    let header = Header {
        entries_at: u64_at(bytes, 72)?,
        entry_size: u32_at(bytes, 84)? as usize,
        entry_count: u32_at(bytes, 80)? as usize,
        entries_crc: u32_at(bytes, 88)?,
    };
    let sensible = ENTRY_SIZES.contains(&header.entry_size) && header.entry_count <= MOST_ENTRIES;
    (sensible && crc32(&checked) == u32_at(bytes, 16)?).then_some(header)
}

fn parse_entries(bytes: &[u8], entry_size: usize) -> Vec<Partition> {
    let numbered = (1..).zip(bytes.chunks_exact(entry_size));
    numbered.filter_map(|(number, entry)| parse_entry(number, entry)).collect()
}

fn parse_entry(number: u32, entry: &[u8]) -> Option<Partition> {
    let kind = guid_at(entry, 0)?;
    let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
    if kind == Guid::NIL || last < first {
        return None;
    }
    let units: Vec<u16> = entry.get(56..128)?.chunks_exact(2).filter_map(|pair| u16_at(pair, 0)).collect();
    let name = units.split(|unit| *unit == 0).next().unwrap_or_default();
    let guid = guid_at(entry, 16)?.to_table();
    let identity = PartitionIdentity { number, start: first, size: (last - first).checked_add(1)?, guid };
    Some(Partition { kind, identity, name: String::from_utf16_lossy(name) })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn guid_at(bytes: &[u8], at: usize) -> Option<Guid> {
    array_at(bytes, at).map(Guid::from_table)
}

/// CRC-32 as the specification asks (section 5.3.2: the polynomial of ANSI X3.66, reflected). A table has 16 KiB: no need for speed.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// The one partition with this unique GUID.
///
/// # Errors
/// `NotFound` if the table has none.
pub fn find(table: &[Partition], guid: [u8; 16]) -> Result<&Partition> {
    table.iter().find(|partition| partition.identity.guid == guid).ok_or_else(|| {
        Error::not_found(format!("the partition table has no partition {}", Guid::from_table(guid)))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use proptest::prelude::*;

    use super::*;

    fn file(content: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_disk_without_a_table_has_none() {
        assert!(read(&file(&[]), 512).unwrap().is_none());
        assert!(read(&file(&[0; 4096]), 512).unwrap().is_none());
    }

    #[test]
    fn a_table_with_one_changed_bit_is_not_believed() {
        let mut disk = file(&super::super::testing::two_partitions());
        assert_eq!(read(&disk, 512).unwrap().unwrap().len(), 2);
        disk.seek(SeekFrom::Start(1024 + 33)).unwrap();
        disk.write_all(&[0xff]).unwrap();
        assert!(read(&disk, 512).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut disk = vec![0; 512];
            disk.extend_from_slice(SIGNATURE);
            disk.extend_from_slice(&bytes);
            let _ = read(&file(&disk), 512).unwrap();
        }
    }
}
