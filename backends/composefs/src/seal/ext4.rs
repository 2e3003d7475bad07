//! What an ext4 must be like to be sealed, read from its superblock.
//!
//! Offsets: `struct ext4_super_block` in `fs/ext4/ext4.h`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use bootwright_core::error::{Error, ErrorKind, IoContext, Result};

const SUPERBLOCK_OFFSET: u64 = 1024;
const SUPERBLOCK_LEN: usize = 1024;
const MAGIC: u16 = 0xef53;
const INCOMPAT_RECOVER: u32 = 0x4;
const RO_COMPAT_VERITY: u32 = 0x8000;

/// The few fields of a superblock that decide whether the file system can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Superblock {
    log_block_size: u32,
    incompat: u32,
    ro_compat: u32,
}

impl Superblock {
    fn parse(bytes: &[u8; SUPERBLOCK_LEN]) -> Option<Self> {
        let u32_at = |at: usize| bytes.get(at..at + 4)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
        if bytes.get(0x38..0x3a)? != MAGIC.to_le_bytes() {
            return None;
        }
        Some(Self { log_block_size: u32_at(0x18)?, incompat: u32_at(0x60)?, ro_compat: u32_at(0x64)? })
    }

    fn check(self) -> Result<()> {
        if self.ro_compat & RO_COMPAT_VERITY == 0 {
            return Err(Error::unsupported("the ext4 file system does not have the verity feature")
                .with_hint("make it with `mkfs.ext4 -O verity`, or add it with `tune2fs -O verity`"));
        }
        // 1024 << 2: fs-verity's own block size; the kernel takes others, but only this one is sealed and tested.
        if self.log_block_size != 2 {
            let size = 1024_u64.checked_shl(self.log_block_size).unwrap_or(0);
            return Err(Error::unsupported(format!(
                "the ext4 file system has blocks of {size} bytes, not 4096"
            ))
            .with_hint("make it with `mkfs.ext4 -b 4096 -O verity`"));
        }
        Ok(())
    }
}

/// Checks that `device` (a block device or an image file) holds an ext4 that can be sealed: the verity feature, and
/// blocks of 4096 bytes. The device may be mounted.
///
/// # Errors
/// `Unsupported` for another file system or an ext4 made otherwise, with what to do; I/O errors.
pub fn check_device(device: &Path) -> Result<()> {
    let file = File::open(device).context_io(|| format!("open {}", device.display()))?;
    read(&file, device)?.check()
}

/// As [`check_device`], and in addition that the file system is unmounted and its journal empty. The returned handle
/// keeps a block device from being mounted while it is open.
pub(super) fn claim_device(device: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    let is_block = device.metadata().is_ok_and(|m| m.file_type().is_block_device());
    if is_block {
        // On a block device, O_EXCL without O_CREAT is refused while it is mounted: open(2).
        options.custom_flags(rustix::fs::OFlags::EXCL.bits().cast_signed());
    }
    let file =
        options.open(device).context_io(|| format!("open {} for itself", device.display())).map_err(|e| {
            if e.kind() == ErrorKind::Busy { e.with_hint("unmount the file system first") } else { e }
        })?;
    let superblock = read(&file, device)?;
    superblock.check()?;
    if superblock.incompat & INCOMPAT_RECOVER != 0 {
        return Err(Error::new(
            ErrorKind::Busy,
            format!("the file system on {} is mounted, or was not unmounted cleanly", device.display()),
        )
        .with_hint("unmount it (or mount and unmount it once), then seal it again"));
    }
    Ok(file)
}

fn read(file: &File, device: &Path) -> Result<Superblock> {
    let mut bytes = [0; SUPERBLOCK_LEN];
    let read = file.read_exact_at(&mut bytes, SUPERBLOCK_OFFSET);
    if read.as_ref().is_err_and(|e| e.kind() != std::io::ErrorKind::UnexpectedEof) {
        read.context_io(|| format!("read the superblock of {}", device.display()))?;
    }
    Superblock::parse(&bytes).ok_or_else(|| {
        Error::unsupported(format!("{} does not hold an ext4 file system", device.display())).with_hint(
            "only ext4 can be sealed on a host whose kernel has no fs-verity; choose ext4, or install on a host with fs-verity",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(log_block_size: u32, ro_compat: u32) -> [u8; SUPERBLOCK_LEN] {
        let mut bytes = [0; SUPERBLOCK_LEN];
        bytes[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[0x18..0x1c].copy_from_slice(&log_block_size.to_le_bytes());
        bytes[0x64..0x68].copy_from_slice(&ro_compat.to_le_bytes());
        bytes
    }

    fn check(bytes: &[u8; SUPERBLOCK_LEN]) -> Result<()> {
        Superblock::parse(bytes).expect("a superblock").check()
    }

    #[test]
    fn an_ext4_without_the_verity_feature_is_refused_with_the_way_to_make_one() {
        let error = check(&superblock(2, 0)).expect_err("no verity");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().is_some_and(|h| h.contains("-O verity")));
    }

    #[test]
    fn other_block_sizes_are_refused() {
        assert!(check(&superblock(2, RO_COMPAT_VERITY)).is_ok());
        for log in [0, 1, 3, 6, u32::MAX] {
            let error = check(&superblock(log, RO_COMPAT_VERITY)).expect_err("not 4096");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn anything_else_is_not_ext4() {
        assert_eq!(Superblock::parse(&[0; SUPERBLOCK_LEN]), None);
    }
}
