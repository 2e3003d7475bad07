//! Throwaway copies of disks: an XFS in memory, whose files can share blocks, so that a copy of a disk costs nothing.
//!
//! All of it is mounted in a mount namespace of the process ([`in_own_namespace`]): it goes with the process, however that ends.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{grub, log::SECTOR, machine::Patch, root_file_system::RootFileSystem, timeline::Layout};
use crate::host;

/// Sparse: what is not used takes no memory.
const SIZE: u64 = 12 << 30;
/// Number of the root partition of the disks that are looked at.
pub const ROOT: u32 = 2;

/// A command that runs `program` as root in a mount namespace of its own, from which nothing gets out, and kills it when this process ends.
pub fn in_own_namespace(program: &Path) -> Command {
    let mut command = host::privileged("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private", "--"]);
    command.arg(program);
    command
}

/// The file system.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    mounted: bool,
}

impl Scratch {
    /// Makes and mounts it.
    ///
    /// # Errors
    /// When a program is missing or fails; it needs root.
    pub fn make() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bootwright-power-cuts-").tempdir_in(host::scratch())?;
        let mut scratch = Self { folder, mounted: false };
        // Memory of its own: it is given back with the namespace, also if this process is killed.
        let mut memory = host::command("mount");
        host::run(
            memory.args(["-t", "tmpfs", "-o", "size=75%,mode=0700", "power-cuts"]).arg(scratch.folder.path()),
        )?;
        scratch.mounted = true;
        let image = scratch.folder.path().join("scratch.img");
        File::create(&image)?.set_len(SIZE)?;
        host::run(host::command("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))?;
        std::fs::create_dir(scratch.path())?;
        // Freed blocks go back to the machine's memory at once.
        let mut mount = host::command("mount");
        host::run(mount.args(["-o", "loop,discard"]).arg(&image).arg(scratch.path()))?;
        Ok(scratch)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// A folder in memory beside it, for what shares no blocks.
    pub fn memory(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            unmount_lazily(&self.path());
            unmount_lazily(self.folder.path());
        }
    }
}

fn unmount_lazily(at: &Path) {
    let mut command = host::command("umount");
    // It fails only if it is unmounted already.
    drop(command.arg("-l").arg(at).stderr(std::process::Stdio::null()).status());
}

/// A copy of a disk, removed when this is dropped.
#[derive(Debug)]
pub struct Clone {
    path: PathBuf,
}

impl Clone {
    /// Copies `from` to `at`, with these sectors changed.
    ///
    /// # Errors
    /// When the file system cannot share blocks, or is full.
    pub fn make(from: &File, at: PathBuf, patch: &Patch<'_>) -> Result<Self> {
        let file = File::create(&at).with_context(|| format!("make {}", at.display()))?;
        let clone = Self { path: at };
        rustix::fs::ioctl_ficlone(&file, from).context("share the blocks of a disk")?;
        for (sector, (_, bytes)) in patch {
            file.write_all_at(bytes, sector * SECTOR as u64)?;
        }
        Ok(clone)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// The root file system of a copy, recovered by the kernel as at the next boot.
#[derive(Debug)]
pub struct MountedRoot {
    at: PathBuf,
    disk: Clone,
    unrecovered: Clone,
    layout: Layout,
}

impl MountedRoot {
    /// Mounts it read-write at `at`, which has to exist.
    ///
    /// # Errors
    /// When the kernel cannot recover it.
    pub fn mount(disk: Clone, layout: &Layout, at: &Path) -> Result<Self> {
        let beside = disk.path().with_extension("unrecovered");
        let unrecovered = Clone::make(&File::open(disk.path())?, beside, &Patch::new())?;
        layout.file_system.mount(disk.path(), &layout.root, at)?;
        Ok(Self { at: at.to_owned(), disk, unrecovered, layout: layout.clone() })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// The content of a file as GRUB reads it, with its own drivers, and no journal replayed: of the disk as it was before it was mounted.
    ///
    /// # Errors
    /// When GRUB does not find it, or cannot read it.
    pub fn seen_by_grub(&self, file: &Path) -> Result<Vec<u8>> {
        grub::read(self.unrecovered.path(), ROOT, file.strip_prefix(&self.at)?)
    }

    /// What is mounted.
    pub fn file_system(&self) -> RootFileSystem {
        self.layout.file_system
    }

    /// The disk that it is on, as it is after the recovery.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// The file system as programs of e2fsprogs name it: a part of a file.
    pub fn device(&self) -> String {
        format!("{}?offset={}", self.disk.path().display(), self.layout.root.start)
    }

    /// Unmounts it, and asks the file system's own program whether it is sound.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(self) -> Result<()> {
        host::run(host::command("umount").arg(&self.at))?;
        let checked = self.layout.file_system.check(self.disk.path(), &self.layout.root);
        checked.context("the root is damaged after its recovery")
    }
}

impl Drop for MountedRoot {
    fn drop(&mut self) {
        unmount_lazily(&self.at);
    }
}
