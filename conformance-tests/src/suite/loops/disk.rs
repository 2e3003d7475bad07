//! A root file system and an ESP in two files, mounted while they are used.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::{io::Errno, mount::UnmountFlags};

use crate::{host, suite::Filler};

/// Sparse: what a case does not write takes no memory.
const ROOT_SIZE: u64 = 256 << 20;
/// Enough for a few deployments, and few enough to be used up in a moment.
const INODES: &str = "4096";
/// A folder with what fills the root.
const FILLER: &str = "full";
/// Of [`Filler::Blocks`], and the smallest that ext4 has, in bytes.
const BLOCK: u64 = 4096;
const SMALLEST_BLOCK: u64 = 1024;
/// How long a program may take to start.
const BUSY: Duration = Duration::from_secs(10);
/// Little, so that it can be filled.
const ESP_SIZE: u64 = 24 << 20;

/// Two file systems of one machine.
#[derive(Debug)]
pub struct LoopDisk {
    folder: tempfile::TempDir,
    mounted: bool,
}

impl LoopDisk {
    /// Makes both, empty, and mounts them.
    ///
    /// # Errors
    /// When a program fails; it needs root.
    pub fn make(mkfs_args: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bootwright-suite-").tempdir_in(host::scratch())?;
        let mut disk = Self { folder, mounted: false };
        for folder in [disk.esp(), disk.sysroot()] {
            std::fs::create_dir(folder)?;
        }
        File::create(disk.image("root"))?.set_len(ROOT_SIZE)?;
        // Power is cut between changes here, not between blocks: a journal would only take time.
        let quiet = ["-q", "-N", INODES, "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
        let quiet = quiet.map(str::to_owned);
        host::run(host::command("mkfs.ext4").args(quiet).args(mkfs_args).arg(disk.image("root")))?;
        disk.mount()?;
        disk.mount_esp()?;
        Ok(disk)
    }

    /// Where the ESP is mounted.
    pub fn esp(&self) -> PathBuf {
        self.folder.path().join("mnt-esp")
    }

    /// Where the root file system is mounted.
    pub fn sysroot(&self) -> PathBuf {
        self.folder.path().join("mnt-root")
    }

    /// A folder beside both.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    fn image(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.img"))
    }

    fn mount(&mut self) -> Result<()> {
        // Without barriers: the device is a file in memory, and a flush of it only takes time.
        let mut mount = host::command("mount");
        mount.args(["-o", "loop,barrier=0,noatime"]).arg(self.image("root")).arg(self.sysroot());
        host::run(&mut mount)?;
        self.mounted = true;
        Ok(())
    }

    /// FAT; or memory of the same size, where the kernel has no FAT.
    fn mount_esp(&self) -> Result<()> {
        let image = self.image("esp");
        File::create(&image)?.set_len(ESP_SIZE)?;
        host::run(host::command("mkfs.vfat").args(["-F", "16", "-s", "1"]).arg(&image))?;
        let options = "loop,umask=0077,shortname=winnt,noatime";
        let mut fat = host::command("mount");
        fat.args(["-t", "vfat", "-o", options]).arg(&image).arg(self.esp());
        if host::run(&mut fat).is_ok() {
            return Ok(());
        }
        let memory = format!("size={ESP_SIZE},mode=0700");
        let mut tmpfs = host::command("mount");
        host::run(tmpfs.args(["-t", "tmpfs", "-o", &memory, "esp"]).arg(self.esp())).map(drop)
    }

    /// A program that another thread is starting holds every descriptor of this process until it is on its own: waits for that.
    fn unmount_root(&self) -> Result<()> {
        let deadline = Instant::now() + BUSY;
        loop {
            match rustix::mount::unmount(self.sysroot(), UnmountFlags::empty()) {
                Err(Errno::BUSY) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => return other.with_context(|| format!("unmount {}", self.sysroot().display())),
            }
        }
    }

    /// Uses up the blocks or inodes of the root, but for `left`, also those that only root may use.
    ///
    /// # Errors
    /// When a call fails for another reason than that it is full.
    pub fn fill_root(&self, with: Filler, left: u64) -> Result<()> {
        self.empty_root()?;
        let folder = self.sysroot().join(FILLER);
        std::fs::create_dir(&folder)?;
        match with {
            Filler::Blocks => use_up_blocks(&File::create(folder.join("blocks"))?, left),
            Filler::Inodes => use_up_inodes(&folder, left),
        }
    }

    /// Removes what [`LoopDisk::fill_root`] made.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn empty_root(&self) -> Result<()> {
        let folder = self.sysroot().join(FILLER);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }

    /// Copies both to a new folder. Nothing may hold a file open.
    ///
    /// # Errors
    /// When it cannot be unmounted, copied or mounted again.
    pub fn save(&mut self) -> Result<tempfile::TempDir> {
        let copy = tempfile::Builder::new().prefix("bootwright-suite-").tempdir_in(host::scratch())?;
        std::fs::create_dir(copy.path().join("esp"))?;
        copy_all(&self.esp(), &copy.path().join("esp"))?;
        self.unmount_root()?;
        copy_sparse(&self.image("root"), &copy.path().join("root.img"))?;
        self.mount()?;
        Ok(copy)
    }

    /// Back to a copy.
    ///
    /// # Errors
    /// As [`LoopDisk::save`].
    pub fn load(&mut self, copy: &Path) -> Result<()> {
        for entry in std::fs::read_dir(self.esp())? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        copy_all(&copy.join("esp"), &self.esp())?;
        self.unmount_root()?;
        copy_sparse(&copy.join("root.img"), &self.image("root"))?;
        self.mount()
    }
}

/// What a file system says to be free is not always to be had: it takes all that it gets, in ever smaller pieces, and gives `left` back.
fn use_up_blocks(file: &File, left: u64) -> Result<()> {
    let (mut size, mut piece) = (0, ROOT_SIZE);
    while piece >= SMALLEST_BLOCK {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), size, piece) {
            Ok(()) => size += piece,
            Err(Errno::NOSPC) => piece /= 2,
            Err(other) => return Err(other.into()),
        }
    }
    file.set_len(size.saturating_sub(left * BLOCK))?;
    Ok(())
}

fn use_up_inodes(folder: &Path, left: u64) -> Result<()> {
    let free = rustix::fs::statvfs(folder)?.f_favail;
    for number in left..free {
        File::create(folder.join(number.to_string()))?;
    }
    Ok(())
}

/// Everything in a folder.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let mut copy = host::command("cp");
    host::run(copy.args(["-r", "--"]).arg(from.join(".")).arg(to)).map(drop)
}

/// Replaced, not written over: holes stay holes.
fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_file(to);
    host::run(host::command("cp").args(["--sparse=auto", "--"]).arg(from).arg(to))
        .map(drop)
        .with_context(|| format!("copy {}", from.display()))
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            for at in [self.esp(), self.sysroot()] {
                let _ = rustix::mount::unmount(at, UnmountFlags::DETACH);
            }
        }
    }
}
