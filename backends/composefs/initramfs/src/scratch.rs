//! A private folder in which the new root is put together, out of sight until it is complete.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, UnmountFlags, fsconfig_create, fsmount,
    fsopen, mount_change, unmount,
};

use crate::error::{Doing, Result};
use crate::mount;

/// A tmpfs with folders to mount at. Dropping it takes down all that is still mounted in it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Mounts it at `path`, which is created.
    #[expect(clippy::disallowed_methods, reason = "a folder of the initramfs, which is in memory")]
    pub fn mount(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).doing(format_args!("create {}", path.display()))?;
        let tmpfs = tmpfs().doing("mount a tmpfs")?;
        mount::attach_at(&tmpfs, path).doing(format_args!("mount a tmpfs at {}", path.display()))?;
        let scratch = Self { path: path.into() };
        // A mount cannot be moved away from below a shared one (move_mount, EINVAL), and systemd shares them all.
        mount_change(path, MountPropagationFlags::PRIVATE).doing("make a mount private")?;
        Ok(scratch)
    }

    /// Attaches `mount` at a new folder `name`, and opens it there.
    pub fn attach(&self, mount: OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
        let path = self.path.join(name);
        rustix::fs::mkdir(&path, Mode::RWXU)?;
        mount::attach_at(mount, &path)?;
        open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }
}

impl Drop for Scratch {
    #[expect(clippy::disallowed_methods, reason = "a folder of the initramfs, which is in memory")]
    fn drop(&mut self) {
        // Lazily: layers of an overlay stay in use by it. What was moved away is not concerned.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}

fn tmpfs() -> rustix::io::Result<OwnedFd> {
    let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&tmpfs)?;
    fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
