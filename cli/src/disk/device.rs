//! The target of an install: a block device or an image file, held so that nobody else writes to it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use bootwright_core::{Error, ErrorKind, IoContext, Result, patience::again_while};
use rustix::{fs::FlockOperation, io::Errno};

use super::{ByteSize, in_use, mount::device_number};

/// How long another program may look at a disk: udev holds a lock while it probes one that has just appeared, or was written to.
const PROBING: Duration = Duration::from_secs(10);

/// What kind of thing the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A whole disk, with partition devices made by the kernel.
    Disk,
    /// A regular file that holds the image of a disk.
    ImageFile,
}

/// A target, opened and locked. Nothing was written to it.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    kind: TargetKind,
    handle: File,
    bytes: u64,
    sector: u64,
}

impl Target {
    /// Opens and locks `path`.
    ///
    /// # Errors
    /// `NotFound`; `Permission` for anybody but root; `InvalidInput` for what is neither whole disk nor file; `Busy` if it, or any part of it, is
    /// mounted, used as swap, part of another device, behind a loop device, or locked by another program for ten seconds.
    pub fn open(path: &Path) -> Result<Self> {
        require_root()?;
        let what = || format!("open {}", path.display());
        let path = path.canonicalize().context_io(what)?;
        let kind = std::fs::metadata(&path).context_io(what)?.file_type();
        if kind.is_block_device() {
            Self::open_disk(path)
        } else if kind.is_file() {
            Self::open_image(path)
        } else {
            Err(Error::invalid(format!("{} is neither a block device nor a regular file", path.display())))
        }
    }

    fn open_disk(path: PathBuf) -> Result<Self> {
        let sysfs = sysfs_of(&path)?;
        if sysfs.join("partition").exists() {
            return Err(Error::invalid(format!("{} is a partition, not a whole disk", path.display()))
                .with_hint("name the disk, or mount a file system and use `install to-filesystem`"));
        }
        in_use::refuse_disk_in_use(&path, &sysfs)?;
        // The kernel's own answer: an exclusive open fails while the disk or a partition of it is mounted, in any mount namespace.
        let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(exclusive).open(&path);
        let handle = opened.map_err(|error| in_use::explain_open(&path, error))?;
        drop(handle);
        // Kept open without the exclusive claim, which would lock out sfdisk and mkfs as well.
        let handle = open_for_writing(&path)?;
        lock(&handle, &path)?;
        let bytes = sysfs_number(&sysfs.join("size"))? * 512;
        let sector = sysfs_number(&sysfs.join("queue/logical_block_size"))?;
        Ok(Self { path, kind: TargetKind::Disk, handle, bytes, sector })
    }

    fn open_image(path: PathBuf) -> Result<Self> {
        in_use::refuse_attached_file(&path)?;
        let handle = open_for_writing(&path)?;
        lock(&handle, &path)?;
        let bytes = handle.metadata().context_io(|| format!("look at {}", path.display()))?.size();
        Ok(Self { path, kind: TargetKind::ImageFile, handle, bytes, sector: 512 })
    }

    /// Its path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// The open target.
    pub fn handle(&self) -> &File {
        &self.handle
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Logical sector size in bytes; 512 for an image file.
    pub fn sector(&self) -> u64 {
        self.sector
    }
}

/// Makes an image file of `size` bytes that takes no room yet, unless one of that size is there already. Returns whether it did.
///
/// # Errors
/// `InvalidInput` if a file of another size is there; else as the system says.
pub fn create_image_file(path: &Path, size: ByteSize) -> Result<bool> {
    let what = || format!("create {}", path.display());
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file.set_len(size.0).context_io(what).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let there = std::fs::metadata(path).context_io(what)?.len();
            if there == size.0 {
                return Ok(false);
            }
            let message = format!("{} exists and has {}, not {size}", path.display(), ByteSize(there));
            Err(Error::invalid(message).with_hint("leave --disk-size out, or remove the file first"))
        }
        Err(error) => Err(error).context_io(what),
    }
}

/// Checks for the privileges that every change of a disk takes.
///
/// # Errors
/// `Permission` for anybody but root.
pub fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Permission, "this needs root").with_hint("run it with sudo"))
}

fn open_for_writing(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path).context_io(|| format!("open {}", path.display()))
}

/// An exclusive lock on the whole disk also keeps udev from probing partitions while they are made (systemd, "Locking Block Device Access").
fn lock(handle: &File, path: &Path) -> Result<()> {
    let attempt = || rustix::fs::flock(handle, FlockOperation::NonBlockingLockExclusive);
    again_while(PROBING, |error| *error == Errno::WOULDBLOCK, attempt).map_err(|error| {
        Error::new(ErrorKind::Busy, format!("{} is locked by another program", path.display()))
            .with_source(std::io::Error::from(error))
            .with_hint("wait for the other install, or close the program that uses it")
    })
}

/// The folder of a block device in sysfs.
///
/// # Errors
/// As looking at the node fails.
pub fn sysfs_of(node: &Path) -> Result<PathBuf> {
    let path = PathBuf::from(format!("/sys/dev/block/{}", device_number(node)?));
    path.canonicalize().context_io(|| format!("look at {}", path.display()))
}

/// A number in a sysfs file.
///
/// # Errors
/// As reading it fails; `Internal` if it is not a number.
pub fn sysfs_number(path: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(path).context_io(|| format!("read {}", path.display()))?;
    text.trim()
        .parse()
        .map_err(|_| Error::internal(format!("{} holds {text:?}, not a number", path.display())))
}
