//! Booting from a BIOS: 440 bytes of code in the first sector, and the rest in the BIOS boot partition.
//!
//! The partition holds two copies of the rest, and an update writes the one that is not in use. The first sector, which the disk writes
//! wholly or not at all, then points to it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
};

use bootwright_core::{
    Error, IoContext, Result,
    context::{BootDisk, PartitionIdentity},
    fs::Faults,
};

/// GRUB's code counts in sectors of this size.
const SECTOR: usize = 512;
/// Offsets in the first sector (GRUB, include/grub/i386/pc/boot.h): where the next sector is, which drive, the jump that works round
/// buggy firmware when it is taken out, and where the disk's own signature and partition table begin.
const NEXT_SECTOR: usize = 0x5c;
const DRIVE: usize = 0x64;
const DRIVE_CHECK: usize = 0x66;
const TABLE: usize = 0x1b8;
/// Offset in the second part's first sector of the list of blocks: first sector (8 bytes), number of sectors (2), segment (2).
const BLOCK_START: usize = 0x1f4;
const BLOCK_LENGTH: usize = 0x1fc;

/// Writes GRUB's first sector `boot` and its rest `core` to a disk, unless both are there.
///
/// # Errors
/// `Unsupported` if the disk has no BIOS boot partition or sectors of another size than 512 bytes, `NoSpace` if the partition is too small, `Io`.
///
/// # Crash
/// The old program starts, or the new one.
pub fn write(disk: &BootDisk, boot: &[u8], core: &[u8], faults: &Faults) -> Result<()> {
    let partition = partition(disk)?;
    let what = || format!("write GRUB to {}", disk.path.display());
    let file = OpenOptions::new().read(true).write(true).open(&disk.path).context_io(what)?;
    let mut first = vec![0; SECTOR];
    file.read_exact_at(&mut first, 0).context_io(what)?;
    let slots = slots(&partition, core.len())?;
    let current = u64_at(&first, NEXT_SECTOR);
    for start in slots {
        let (boot, core) = (first_sector(boot, &first, start)?, placed(core, start)?);
        if start == current && first == boot && holds(&file, start, &core)? {
            return Ok(());
        }
    }
    let start = slots.into_iter().find(|start| *start != current).unwrap_or(partition.start);
    let (boot, core) = (first_sector(boot, &first, start)?, placed(core, start)?);
    let sync = || faults.sync(|| format!("sync {}", disk.path.display()), || file.sync_all());
    faults.before(&format!("write GRUB's core to {}", disk.path.display()))?;
    file.write_all_at(&core, start * SECTOR as u64).and_then(|()| sync()).context_io(what)?;
    faults.before(&format!("write the first sector of {}", disk.path.display()))?;
    file.write_all_at(&boot, 0).and_then(|()| sync()).context_io(what)
}

/// The rest of GRUB that a BIOS would start, `length` bytes of it, without what [`write()`] fills in; `None` if there is none.
///
/// # Errors
/// `Unsupported` as [`write()`] has it, `Io`.
pub fn read(disk: &BootDisk, length: usize) -> Result<Option<Vec<u8>>> {
    let partition = partition(disk)?;
    let what = || format!("read GRUB from {}", disk.path.display());
    let file = File::open(&disk.path).context_io(what)?;
    let mut first = [0; SECTOR];
    file.read_exact_at(&mut first, 0).context_io(what)?;
    let start = u64_at(&first, NEXT_SECTOR);
    if !slots(&partition, length).is_ok_and(|slots| slots.contains(&start)) {
        return Ok(None);
    }
    let mut core = vec![0; length];
    file.read_exact_at(&mut core, start * SECTOR as u64).context_io(what)?;
    forget_place(&mut core);
    Ok(Some(core))
}

/// Takes out what says where the rest lies.
pub fn forget_place(core: &mut [u8]) {
    patch(core, BLOCK_START, &[0; 8]);
    patch(core, BLOCK_LENGTH, &[0; 2]);
}

/// Where the rest of GRUB goes.
///
/// # Errors
/// `Unsupported` if the disk has no BIOS boot partition, or sectors of another size than 512 bytes.
pub fn partition(disk: &BootDisk) -> Result<PartitionIdentity> {
    disk.bios_boot.filter(|_| disk.sector == SECTOR as u64).ok_or_else(|| {
        Error::unsupported(format!("{} cannot be booted by a BIOS", disk.path.display())).with_hint(
            "it needs a GPT with sectors of 512 bytes and a BIOS boot partition \
             (type 21686148-6449-6E6F-744E-656564454649) of 4 MiB, as `install to-disk` makes it",
        )
    })
}

/// First sectors of the two halves.
fn slots(partition: &PartitionIdentity, core: usize) -> Result<[u64; 2]> {
    let half = partition.size / 2;
    if (core.div_ceil(SECTOR) as u64) > half {
        return Err(Error::new(
            bootwright_core::ErrorKind::NoSpace,
            format!(
                "the BIOS boot partition has {} KiB, and two copies of GRUB take {}",
                partition.size / 2,
                core.div_ceil(SECTOR)
            ),
        )
        .with_hint("make it 4 MiB"));
    }
    Ok([partition.start, partition.start + half])
}

fn holds(file: &File, start: u64, core: &[u8]) -> Result<bool> {
    let mut present = vec![0; core.len()];
    file.read_exact_at(&mut present, start * SECTOR as u64).context_io(|| "read GRUB's core".to_owned())?;
    Ok(present == core)
}

/// GRUB's first sector, with what belongs to the disk kept.
fn first_sector(boot: &[u8], present: &[u8], start: u64) -> Result<Vec<u8>> {
    let mut sector = boot.to_vec();
    if sector.len() != SECTOR || present.len() != SECTOR {
        return Err(Error::invalid("GRUB's boot.img does not have 512 bytes"));
    }
    let signature = SECTOR - 2;
    patch(&mut sector, TABLE, present.get(TABLE..signature).unwrap_or_default());
    patch(&mut sector, signature, &[0x55, 0xaa]);
    patch(&mut sector, NEXT_SECTOR, &start.to_le_bytes());
    // The drive that the firmware names; two no-operations for the jump.
    patch(&mut sector, DRIVE, &[0xff]);
    patch(&mut sector, DRIVE_CHECK, &[0x90, 0x90]);
    Ok(sector)
}

/// The rest, told where it lies: its first sector loads the others.
fn placed(core: &[u8], start: u64) -> Result<Vec<u8>> {
    let mut core = core.to_vec();
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let others = u16::try_from(core.len() / SECTOR - 1);
    let others = others.map_err(|_| Error::invalid("GRUB's core is larger than 32 MiB"))?;
    patch(&mut core, BLOCK_START, &(start + 1).to_le_bytes());
    patch(&mut core, BLOCK_LENGTH, &others.to_le_bytes());
    Ok(core)
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let slice = bytes.get(at..at + 8).and_then(|slice| slice.try_into().ok());
    slice.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make a disk out of a file")]
mod tests {
    use super::*;

    fn disk(folder: &std::path::Path) -> BootDisk {
        let path = folder.join("disk");
        let mut content = vec![0; 4 << 20];
        content[TABLE..SECTOR].fill(0x77);
        std::fs::write(&path, content).unwrap();
        let bios_boot = PartitionIdentity { number: 4, start: 2048, size: 4096, guid: [0; 16] };
        BootDisk { path, sector: 512, bios_boot: Some(bios_boot) }
    }

    /// What a BIOS would start: the core that the first sector leads to.
    fn started(disk: &BootDisk, length: usize) -> Vec<u8> {
        let bytes = std::fs::read(&disk.path).unwrap();
        let start = usize::try_from(u64_at(&bytes, 0x5c)).unwrap() * 512;
        assert_eq!(u64_at(&bytes[start..], 500) * 512, start as u64 + 512);
        assert_eq!(&bytes[0x1b8..0x1fe], &[0x77; 0x1fe - 0x1b8], "the partition table was changed");
        bytes[start + 1024..start + length].to_vec()
    }

    /// spec: BW-418
    #[test]
    fn an_update_that_is_stopped_leaves_the_old_program_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (boot, old, new) = ([0; 512], vec![1; 3000], vec![2; 3000]);
        for n in 0.. {
            let disk = disk(folder.path());
            write(&disk, &boot, &old, &Faults::none()).unwrap();
            let done = write(&disk, &boot, &new, &Faults::stop_before(n)).is_ok();
            let expected = if done { &new } else { &old };
            assert_eq!(started(&disk, 3000), expected[1024..]);
            if done {
                assert_eq!(n, 2);
                let again = Faults::none();
                write(&disk, &boot, &new, &again).unwrap();
                assert_eq!(again.count(), 0, "what is there already was written again");
                return;
            }
        }
    }

    #[test]
    fn a_disk_without_the_partition_is_refused_with_what_would_work() {
        let disk = BootDisk { path: "/dev/x".into(), sector: 512, bios_boot: None };
        let error = write(&disk, &[0; 512], &[0; 512], &Faults::none()).unwrap_err();
        assert!(error.hint().unwrap().contains("21686148-6449-6E6F-744E-656564454649"));
    }
}
