//! A root file system and an ESP in two files, mounted while they are used.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::host;

/// Sparse: what a case does not write takes no memory.
const ROOT_SIZE: u64 = 512 << 20;
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
        let folder = tempfile::Builder::new().prefix("bootwright-suite-").tempdir_in(scratch())?;
        let mut disk = Self { folder, mounted: false };
        for folder in [disk.esp(), disk.sysroot()] {
            std::fs::create_dir(folder)?;
        }
        File::create(disk.image("root"))?.set_len(ROOT_SIZE)?;
        let quiet = ["-q", "-E", "lazy_itable_init=1,nodiscard"].map(str::to_owned);
        host::run(host::command("mkfs.ext4").args(quiet).args(mkfs_args).arg(disk.image("root")))?;
        File::create(disk.image("esp"))?.set_len(ESP_SIZE)?;
        host::run(host::command("mkfs.vfat").args(["-F", "16", "-s", "1"]).arg(disk.image("esp")))?;
        disk.mount()?;
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
        host::run(host::command("mount").args(["-o", "loop"]).arg(self.image("root")).arg(self.sysroot()))?;
        self.mounted = true;
        let options = "loop,umask=0077,shortname=winnt";
        host::run(
            host::command("mount").args(["-t", "vfat", "-o", options]).arg(self.image("esp")).arg(self.esp()),
        )?;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        for at in [self.esp(), self.sysroot()] {
            host::run(host::command("umount").arg(at))?;
        }
        self.mounted = false;
        Ok(())
    }

    /// Copies both to a new folder. Nothing may hold a file open.
    ///
    /// # Errors
    /// When it cannot be unmounted, copied or mounted again.
    pub fn save(&mut self) -> Result<tempfile::TempDir> {
        let copy = tempfile::Builder::new().prefix("bootwright-suite-").tempdir_in(scratch())?;
        self.unmount()?;
        self.copy(|image| copy.path().join(image), true)?;
        self.mount()?;
        Ok(copy)
    }

    /// Back to a copy.
    ///
    /// # Errors
    /// As [`LoopDisk::save`].
    pub fn load(&mut self, copy: &Path) -> Result<()> {
        self.unmount()?;
        self.copy(|image| copy.join(image), false)?;
        self.mount()
    }

    fn copy(&self, other: impl Fn(String) -> PathBuf, out: bool) -> Result<()> {
        for name in ["root", "esp"] {
            let (here, there) = (self.image(name), other(format!("{name}.img")));
            let (from, to) = if out { (here, there) } else { (there, here) };
            // Replaced, not written over: holes stay holes.
            let _ = std::fs::remove_file(&to);
            host::run(host::command("cp").args(["--sparse=auto", "--"]).arg(&from).arg(&to))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        Ok(())
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            for at in [self.esp(), self.sysroot()] {
                let _ =
                    host::command("umount").arg("-l").arg(at).stderr(std::process::Stdio::null()).status();
            }
        }
    }
}

/// In memory where that is possible: every publication syncs.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
