//! Throwaway copies of disks: an XFS in memory, whose files can share blocks, so that a copy of a disk costs nothing.
//!
//! All of it is mounted in a mount namespace of the process ([`in_own_namespace`]): it goes with the process, however that ends.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::{log::SECTOR, machine::Patch, root_file_system::RootFileSystem, timeline::Layout};
use crate::host;

/// Sparse: what is not used takes no memory.
const SIZE: u64 = 12 << 30;

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
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("bootwright-power-cuts-").tempdir_in(parent)?;
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
    layout: Layout,
    loader_files: BTreeMap<PathBuf, String>,
}

impl MountedRoot {
    /// Mounts it read-write at `at`, which has to exist.
    ///
    /// # Errors
    /// When the kernel cannot recover it.
    pub fn mount(disk: Clone, layout: &Layout, at: &Path) -> Result<Self> {
        let loader_files = loader_files(&disk, layout, at)?;
        layout.file_system.mount(disk.path(), &layout.root, at)?;
        Ok(Self { at: at.to_owned(), disk, layout: layout.clone(), loader_files })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// SHA-256 of a file in `/boot`, as a loader found it that replays no journal.
    pub fn loader_file(&self, file: &Path) -> Option<&str> {
        self.loader_files.get(file.strip_prefix(&self.at).ok()?).map(String::as_str)
    }

    /// What is mounted.
    pub fn file_system(&self) -> RootFileSystem {
        self.layout.file_system
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

/// SHA-256 of all files in `/boot`, before any recovery. None where a loader could not read the file system either.
fn loader_files(disk: &Clone, layout: &Layout, at: &Path) -> Result<BTreeMap<PathBuf, String>> {
    if layout.file_system.mount_unrecovered(disk.path(), &layout.root, at).is_err() {
        return Ok(BTreeMap::new());
    }
    let mut files = BTreeMap::new();
    // What cannot be read is not there for a loader.
    drop(add_files(&at.join("boot"), at, &mut files));
    host::run(host::command("umount").arg(at))?;
    Ok(files)
}

fn add_files(folder: &Path, root: &Path, files: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            drop(add_files(&path, root, files));
        } else if kind.is_file()
            && let Ok(content) = std::fs::read(&path)
        {
            files.insert(path.strip_prefix(root)?.to_owned(), hex::encode(Sha256::digest(content)));
        }
    }
    Ok(())
}
