//! For tests: a file system in a file, mounted while it is used and never left behind. Needs root.

use std::{path::PathBuf, process::Command};

/// A file system in a file of a temporary folder.
pub(crate) struct LoopDisk {
    folder: tempfile::TempDir,
    mounted: bool,
}

impl LoopDisk {
    /// Makes it of `size` bytes with this program and these arguments; not mounted yet.
    pub(crate) fn make(mkfs: &[&str], size: u64) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap(), mounted: false };
        std::fs::File::create(disk.image()).unwrap().set_len(size).unwrap();
        std::fs::create_dir(disk.mount_point()).unwrap();
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(disk.image()));
        disk
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mnt")
    }

    pub(crate) fn mount(&mut self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.mount_point()));
        self.mounted = true;
    }

    pub(crate) fn unmount(&mut self) {
        run(Command::new("umount").arg(self.mount_point()));
        self.mounted = false;
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.mount_point()).status();
        }
    }
}

/// Runs a program that has to succeed and returns all that it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (these tests need root and e2fsprogs)"));
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text} (these tests need root and e2fsprogs)");
    text
}
