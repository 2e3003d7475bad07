//! Block devices of single partitions: those that the kernel makes for a disk, loop devices for those of an image file.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bootwright_core::{Error, ErrorKind, IoContext, Result, context::PartitionIdentity};

use super::{
    device::{Target, TargetKind, sysfs_number, sysfs_of},
    in_use::partition_folders,
    loopdev::LoopDevice,
    tool::tool,
};

/// How long the kernel may take to show a partition by itself; it does so while the table is written.
const NOTICE: Duration = Duration::from_millis(500);
/// How long the device node may take to appear after the kernel was told.
const PATIENCE: Duration = Duration::from_secs(20);

/// A partition as a block device.
#[derive(Debug)]
pub enum PartitionDevice {
    /// The kernel's.
    Kernel(PathBuf),
    /// A loop device over that part of the image file.
    Loop(LoopDevice),
}

impl PartitionDevice {
    /// The device of a partition that was just made on `target`.
    ///
    /// # Errors
    /// `Busy` if the kernel does not show it within 20 seconds, or as attaching a loop device fails.
    pub fn of(target: &Target, partition: &PartitionIdentity) -> Result<Self> {
        match target.kind() {
            TargetKind::Disk => wait_for_node(target.path(), partition, target.sector()).map(Self::Kernel),
            TargetKind::ImageFile => {
                let (offset, size) = (partition.start * target.sector(), partition.size * target.sector());
                LoopDevice::attach(target.path(), offset, size).map(Self::Loop)
            }
        }
    }

    /// The device node.
    pub fn node(&self) -> &Path {
        match self {
            Self::Kernel(node) => node,
            Self::Loop(device) => device.node(),
        }
    }

    /// Makes what was written through it durable.
    ///
    /// # Errors
    /// As the system says.
    pub fn sync(&self) -> Result<()> {
        match self {
            Self::Kernel(node) => {
                let what = || format!("sync {}", node.display());
                File::open(node).and_then(|file| file.sync_all()).context_io(what)
            }
            Self::Loop(device) => device.sync(),
        }
    }
}

/// The node of a new partition. A kernel that does not read this kind of table, or did not notice it, is told by `partx`.
fn wait_for_node(disk: &Path, partition: &PartitionIdentity, sector: u64) -> Result<PathBuf> {
    let sysfs = sysfs_of(disk)?;
    let look = |patience: Duration| {
        let deadline = Instant::now() + patience;
        loop {
            let found = find_node(&sysfs, partition, sector);
            if found.is_some() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    if let Some(node) = look(NOTICE) {
        return Ok(node);
    }
    tool("partx").arg("--update").arg(disk).run_blocking()?;
    look(PATIENCE).ok_or_else(|| {
        let message = format!("partition {} of {} did not appear", partition.number, disk.display());
        Error::new(ErrorKind::Busy, message)
            .with_hint("the kernel may still use the old partition table: reboot, then try again")
    })
}

/// The node, once the kernel shows this very partition. Sysfs counts in units of 512 bytes, whatever the disk's sectors.
fn find_node(sysfs: &Path, partition: &PartitionIdentity, sector: u64) -> Option<PathBuf> {
    let wanted = [
        ("partition", u64::from(partition.number)),
        ("start", partition.start * sector / 512),
        ("size", partition.size * sector / 512),
    ];
    // A file that cannot be read is one that just went away with the old table.
    let same =
        |folder: &Path| wanted.iter().all(|(file, n)| sysfs_number(&folder.join(file)).ok() == Some(*n));
    let folder = partition_folders(sysfs).into_iter().find(|folder| same(folder))?;
    let node = Path::new("/dev").join(folder.file_name()?);
    node.exists().then_some(node)
}
