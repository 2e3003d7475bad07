//! The few kinds of mounts that are needed, on the mount interface with file descriptors (Linux 6.6 or later).
//!
//! A mount that is not attached anywhere cannot be a lower layer of an overlay, nor get mounts below it, before Linux 6.15:
//! so everything is attached in a private folder first.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
    mount_remount, move_mount, open_tree,
};

/// Far more than needed: each attempt takes microseconds, and what disturbs it does not go on without end.
const OPEN_ATTEMPTS: u32 = 100_000;

/// A name for an open file that calls which take a path can use.
pub fn fd_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Opens `path` below `root`: absolute links and `..` stay inside it, and no other mount is entered.
pub fn open_inside(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut attempts = 0;
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Some rename or mount on the machine went on meanwhile, so that the kernel is not sure of a `..`: openat2(2).
            Err(io::Errno::AGAIN) if attempts < OPEN_ATTEMPTS => attempts += 1,
            result => return result,
        }
        std::thread::yield_now();
    }
}

/// A handle on the folder `path` below `root`, as [`open_inside`].
pub fn open_folder(root: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    open_inside(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Mounts the EROFS image in the file `image`. The kernel reads the file itself: no loop device.
pub fn erofs(image: impl AsFd) -> io::Result<OwnedFd> {
    let erofs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&erofs, "ro")?;
    fsconfig_set_string(&erofs, "source", fd_path(image))?;
    fsconfig_create(&erofs)?;
    fsmount(&erofs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Mounts the overlay that joins the tree of `image` (a mounted EROFS) and the data in `objects`, read-only.
pub fn composefs(name: &str, image: BorrowedFd, objects: BorrowedFd, verity: bool) -> io::Result<OwnedFd> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "source", format!("composefs:{name}"))?;
    fsconfig_set_string(&overlay, "metacopy", "on")?;
    fsconfig_set_string(&overlay, "redirect_dir", "on")?;
    if verity {
        fsconfig_set_string(&overlay, "verity", "require")?;
    }
    // A lower layer behind a double colon holds data only: Documentation/filesystems/overlayfs.rst, "Data-only lower layers".
    fsconfig_set_string(&overlay, "lowerdir", format!("{}::{}", fd_path(image), fd_path(objects)))?;
    fsconfig_create(&overlay)?;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Mounts a writable overlay over `lower`.
pub fn writable_overlay(lower: BorrowedFd, upper: BorrowedFd, work: BorrowedFd) -> io::Result<OwnedFd> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "source", "composefs-etc")?;
    for (key, fd) in [("lowerdir", lower), ("upperdir", upper), ("workdir", work)] {
        fsconfig_set_string(&overlay, key, fd_path(fd))?;
    }
    fsconfig_create(&overlay)?;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// A second mount of the folder `folder`, not attached yet, without what is mounted below it.
pub fn clone(folder: impl AsFd) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(folder, "", flags)
}

/// Attaches `mount` (from one of the above, or attached elsewhere) at the folder `name` of `parent`.
pub fn attach(mount: impl AsFd, parent: impl AsFd, name: &str) -> io::Result<()> {
    move_mount(mount, "", parent, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches `mount` at the path `target`.
pub fn attach_at(mount: impl AsFd, target: &Path) -> io::Result<()> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Makes the attached `mount` writable or read-only; other mounts of the same file system are not concerned.
pub fn set_writable(mount: impl AsFd, writable: bool) -> io::Result<()> {
    let flags = if writable { MountFlags::empty() } else { MountFlags::RDONLY };
    mount_remount(fd_path(mount), MountFlags::BIND | flags, c"")
}

/// Makes the file system that is mounted at `folder` writable, for those of its mounts that are not read-only themselves.
pub fn make_file_system_writable(folder: impl AsFd) -> io::Result<()> {
    let context = fspick(folder, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?;
    fsconfig_set_flag(&context, "rw")?;
    fsconfig_reconfigure(&context)
}
