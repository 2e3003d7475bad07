//! The EFI system partition on a host whose kernel has no FAT: files are collected in memory and copied with mtools.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bootwright_core::{
    Error, IoContext, Result,
    fs::{Faults, Root},
    model::Digest,
    process::Tool,
};
use rustix::mount::MountFlags;

use super::{mount::Mount, tool::tool};

/// Only root reads it; and what a power cut has damaged, half-written files, is removed, where the kernel would by default turn read-only.
pub const FAT_OPTIONS: &str = "umask=0077,errors=continue";

/// Room that FAT32 needs for itself, in bytes, for a partition of `size` bytes: two tables of four bytes for each cluster
/// of at least 512 bytes, and reserved sectors.
fn overhead(size: u64) -> u64 {
    size / 512 * 8 + (1 << 16)
}

/// An EFI system partition, mounted for writing.
#[derive(Debug)]
pub enum EspMount {
    /// By the kernel.
    Kernel(Mount),
    /// A folder in memory stands in for it.
    Copied {
        /// The memory.
        mount: Mount,
        /// Where it is mounted.
        folder: PathBuf,
        /// The partition that it will be copied to.
        device: PathBuf,
    },
}

impl EspMount {
    /// Mounts the new file system on `device`, of `size` bytes, at `at`, or memory of that size if the kernel has no FAT.
    ///
    /// # Errors
    /// As mounting fails; `NotFound` if the kernel has no FAT and mtools is not installed either.
    pub fn new(device: &Path, at: &Path, size: u64) -> Result<Self> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match Mount::new(device, at, "vfat", flags, FAT_OPTIONS) {
            Ok(mount) => Ok(Self::Kernel(mount)),
            Err(error) if error.kind() == bootwright_core::ErrorKind::Unsupported => {
                super::tool::require(&["mcopy"])?;
                tracing::info!("this kernel has no FAT: the ESP is filled with mtools");
                let options = format!("mode=0700,size={}", size.saturating_sub(overhead(size)));
                let mount = Mount::new(Path::new("tmpfs"), at, "tmpfs", flags, &options)?;
                Ok(Self::Copied { mount, folder: at.to_owned(), device: device.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Brings everything onto the partition and unmounts.
    ///
    /// # Errors
    /// `Busy` if files are still open; `Integrity` if what is read back differs from what was to be written.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Kernel(mount) => mount.unmount(),
            Self::Copied { mount, folder, device } => {
                copy(&folder, &device)?;
                compare(&folder, &device)?;
                mount.unmount()
            }
        }
    }
}

/// mtools refuses devices whose size does not fit its idea of a geometry, unless told not to (mtools manual, "Configuration").
fn mcopy() -> Tool {
    tool("mcopy").env("MTOOLS_SKIP_CHECK", "1")
}

fn copy(folder: &Path, device: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).context_io(|| format!("list {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.context_io(|| format!("list {}", folder.display()))?.path());
    }
    if paths.is_empty() {
        return Ok(());
    }
    paths.sort();
    mcopy().args(["-s", "-Q", "-i"]).arg(device).args(paths).arg("::/").run_blocking().map(drop)
}

/// Reads the partition back, and compares names and contents.
fn compare(folder: &Path, device: &Path) -> Result<()> {
    let wanted = digests(&Root::open(folder, Faults::none())?)?;
    let back = tempfile::tempdir().context_io(|| "make a temporary folder".into())?;
    if !wanted.is_empty() {
        mcopy().args(["-s", "-n", "-Q", "-i"]).arg(device).arg("::/*").arg(back.path()).run_blocking()?;
    }
    let found = digests(&Root::open(back.path(), Faults::none())?)?;
    match wanted.iter().find(|(path, digest)| found.get(*path) != Some(*digest)) {
        Some((path, _)) => Err(Error::integrity(format!("{path} on the ESP is not what was written"))),
        None => Ok(()),
    }
}

/// Every file below `root` with its digest.
fn digests(root: &Root) -> Result<BTreeMap<String, Digest>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for name in root.list(if folder.is_empty() { "." } else { &folder })? {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if root.dir().is_dir(&path) {
                folders.push(path);
            } else if let Some(digest) = root.sha256_of(&path)? {
                files.insert(path, digest);
            }
        }
    }
    Ok(files)
}
