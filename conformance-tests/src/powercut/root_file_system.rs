//! The file systems that a root may have: how each is mounted, asked whether it is sound, and what it expects of a disk.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::Path,
};

use anyhow::Result;

use super::log::SECTOR;
use crate::host;

/// What all of them use as their block, in bytes.
const BLOCK: u64 = 4096;
/// Where a btrfs has its superblock, in bytes (fs/btrfs/disk-io.h, `BTRFS_SUPER_INFO_OFFSET`).
const BTRFS_SUPERBLOCK: u64 = 64 << 10;

/// A type of root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum RootFileSystem {
    /// ext4, with a journal.
    Ext4,
    /// XFS, with a log.
    Xfs,
    /// btrfs, which never overwrites, and has a log for each fsync.
    Btrfs,
}

impl RootFileSystem {
    /// As `mount -t` and `install --filesystem` know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// How many bytes at `offset` of the partition reach the disk together or not at all, as far as this file system needs that.
    ///
    /// ext4 and btrfs need it of the block with the superblock: the others have copies in the journal, or are not referred to before they are durable.
    /// XFS needs it of each block: its recovery takes a block with a new number in its head for a block that is new.
    pub fn atom(self, offset: u64) -> u64 {
        let whole = match self {
            Self::Ext4 => 0..BLOCK,
            Self::Btrfs => BTRFS_SUPERBLOCK..BTRFS_SUPERBLOCK + BLOCK,
            Self::Xfs => 0..u64::MAX,
        };
        if whole.contains(&offset) { BLOCK } else { SECTOR as u64 }
    }

    /// Options of `install` for a host whose kernel may not verify files on it.
    pub const fn install_options(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["--filesystem", "ext4"],
            Self::Xfs => &["--filesystem", "xfs", "--allow-missing-verity"],
            // A kernel that can verify files there does.
            Self::Btrfs => &["--filesystem", "btrfs", "--allow-missing-verity"],
        }
    }

    /// Mounts the partition at `place` of `disk`, and recovers it as at the next boot.
    ///
    /// # Errors
    /// When the kernel cannot recover it.
    pub fn mount(self, disk: &Path, place: &Range<u64>, at: &Path) -> Result<()> {
        if self == Self::Btrfs {
            // The kernel remembers disks, and refuses an older state of one that it has seen. There is none to forget at first.
            drop(host::run(host::command("btrfs").args(["device", "scan", "--forget"])));
        }
        let options = if self == Self::Xfs { "nouuid" } else { "rw" };
        let options = format!("{options},loop,offset={},sizelimit={}", place.start, place.end - place.start);
        let mut mount = host::command("mount");
        host::run(mount.args(["-t", self.name(), "-o", &options]).arg(disk).arg(at)).map(drop)
    }

    /// Asks the file system's own program whether the unmounted partition is sound.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(self, disk: &Path, place: &Range<u64>) -> Result<()> {
        let (program, options): (_, &[_]) = match self {
            Self::Ext4 => ("e2fsck", &["-f", "-n"]),
            Self::Xfs => ("xfs_repair", &["-n", "-f"]),
            Self::Btrfs => ("btrfs", &["check", "--readonly"]),
        };
        if self == Self::Ext4 {
            let part = format!("{}?offset={}", disk.display(), place.start);
            return host::run(host::command(program).args(options).arg(part)).map(drop);
        }
        let part = disk.with_extension("part");
        copy_range(disk, place, &part)?;
        let result = host::run(host::command(program).args(options).arg(&part));
        std::fs::remove_file(&part)?;
        result.map(drop)
    }
}

/// The programs of XFS and btrfs know no offset. Where files can share blocks, the two do.
fn copy_range(from: &Path, range: &Range<u64>, to: &Path) -> Result<()> {
    let mut from = File::open(from)?;
    from.seek(SeekFrom::Start(range.start))?;
    std::io::copy(&mut from.take(range.end - range.start), &mut File::create(to)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_file_system_cannot_survive_is_never_torn() {
        assert_eq!((RootFileSystem::Ext4.atom(0), RootFileSystem::Ext4.atom(4096)), (4096, 512));
        assert_eq!((RootFileSystem::Btrfs.atom(0), RootFileSystem::Btrfs.atom(64 << 10)), (512, 4096));
        assert_eq!(RootFileSystem::Xfs.atom(1 << 30), 4096);
    }
}
