//! GUID partition tables. Checksums are put right first: otherwise nothing but them would be tested.
#![no_main]

#[path = "../../cli/src/disk"]
mod disk {
    //! The reader, without the program around it.
    pub mod gpt;
    mod guid;
    pub use guid::Guid;
}

use std::os::unix::fs::FileExt;

use bootwright_fuzz::within;
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;
/// As many entries of the largest size as are read.
const MOST: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    let mut disk = Disk(input.to_vec());
    check(&disk);
    disk.repair();
    check(&disk);
});

fn check(disk: &Disk) {
    let limit = MOST + (64 << 10) + disk.0.len() * 16;
    let table = within(limit, || disk::gpt::read(disk, SECTOR as u64)).expect("reading memory does not fail");
    for partition in table.iter().flatten() {
        assert!(partition.kind != disk::Guid::NIL && partition.identity.size > 0);
        assert_eq!(partition.kind.to_string().parse().ok(), Some(partition.kind));
        assert!(partition.identity.start.checked_add(partition.identity.size - 1).is_some());
        let found = disk::gpt::find(table.as_deref().unwrap_or_default(), partition.identity.guid);
        assert!(found.is_ok());
    }
}

/// A disk in memory.
struct Disk(Vec<u8>);

impl FileExt for Disk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl Disk {
    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.0.get(SECTOR + at..)?.get(..length)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Writes the checksums of entries and header (UEFI specification, table 5-5).
    fn repair(&mut self) -> Option<()> {
        let start = usize::try_from(self.number(72, 8)?.checked_mul(SECTOR as u64)?).ok()?;
        let length =
            self.number(80, 4)?.checked_mul(self.number(84, 4)?).and_then(|n| usize::try_from(n).ok())?;
        let entries = crc32(self.0.get(start..)?.get(..length)?);
        self.0.get_mut(SECTOR + 88..)?.get_mut(..4)?.copy_from_slice(&entries.to_le_bytes());
        let size = usize::try_from(self.number(12, 4)?).ok()?;
        let mut header = self.0.get(SECTOR..)?.get(..size)?.to_vec();
        header.get_mut(16..20)?.fill(0);
        self.0.get_mut(SECTOR + 16..)?.get_mut(..4)?.copy_from_slice(&crc32(&header).to_le_bytes());
        Some(())
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
