//! Puts the new root together: the image, its `/etc` and `/var`, and the physical root at `/sysroot`.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, StatxAttributes, StatxFlags, major, minor, open, openat, stat, statx,
};
use rustix::mount::{UnmountFlags, unmount};

use crate::cmdline::RootArgument;
use crate::error::{Doing, Error, Result};
use crate::layout::{EtcMount, Layout};
use crate::scratch::Scratch;
use crate::{fstab, image, mount};

/// Where things are in the initramfs; tests have other places.
#[derive(Debug)]
pub struct Places<'a> {
    /// Where the physical root is mounted.
    pub sysroot: &'a Path,
    /// Where the new root has to be in the end.
    pub target: &'a Path,
    /// A folder of our own, to be created.
    pub scratch: &'a Path,
}

/// Mounts the root that `root` names. On an error nothing stays mounted that was not before.
///
/// Nothing is put at the target before all of it is complete: no half-made root can be started.
pub fn set_up(root: &RootArgument, places: &Places) -> Result<()> {
    let physical = open_physical(places.sysroot)?;
    let scratch = Scratch::mount(places.scratch)?;
    // A mount of our own: that of sysroot.mount may be read-only, and what is cloned from it would be, too.
    let disk = mount::clone(&physical)
        .and_then(|clone| scratch.attach(clone, "disk"))
        .doing("mount the physical root a second time")?;
    let new_root = image::mount(&disk, root, &scratch)?;
    // Only now: with a wrong root argument, the disk is not written to at all.
    mount::make_file_system_writable(&disk)
        .and_then(|()| mount::set_writable(&disk, true))
        .doing("make the physical root writable")?;
    mount_state(&disk, &Layout::new(root), &new_root)?;
    // Writable again only for the one who writes, by a remount in a mount namespace of its own.
    bind(&disk, &new_root, "sysroot", false).doing("mount the physical root at /sysroot")?;
    if places.target == places.sysroot {
        // The raw root must not stay reachable below the new one.
        unmount(places.sysroot, UnmountFlags::DETACH).doing("unmount the physical root")?;
    }
    mount::attach_at(&new_root, places.target)
        .doing(format_args!("move the root to {}", places.target.display()))
}

fn open_physical(sysroot: &Path) -> Result<OwnedFd> {
    let found = statx(CWD, sysroot, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .doing(format_args!("look at {}", sysroot.display()))?;
    if !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Error::new(format!("no file system is mounted at {}", sysroot.display())));
    }
    open(sysroot, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .doing(format_args!("open {}", sysroot.display()))
}

fn mount_state(disk: &OwnedFd, layout: &Layout, new_root: &OwnedFd) -> Result<()> {
    let etc = mount::open_folder(disk, &layout.etc).doing(format_args!("open /{}", layout.etc))?;
    match choose_etc(&etc).doing(format_args!("read /{}", layout.etc))? {
        EtcMount::Bind => bind(&etc, new_root, "etc", true),
        EtcMount::Overlay => overlay_etc(&etc, new_root),
    }
    .doing("mount /etc")?;
    if read_fstab(new_root).is_some_and(|lines| fstab::has_var(&lines)) {
        return Ok(());
    }
    // The link leads to the folder that the deployments of a stateroot share; IN_ROOT keeps it on the physical root.
    let var = mount::open_folder(disk, &layout.var).doing(format_args!("open /{}", layout.var))?;
    bind(&var, new_root, "var", true).doing("mount /var")
}

/// The new root's `/etc/fstab`, if there is one that can be read. Of a longer one, the first MiB.
fn read_fstab(new_root: &OwnedFd) -> Option<Vec<u8>> {
    const LIMIT: u64 = 1 << 20;
    // Across the mount, but not through a link.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let etc = openat(new_root, "etc", flags, Mode::empty()).ok()?;
    let file = mount::open_inside(etc, "fstab", OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let mut content = Vec::new();
    File::from(file).take(LIMIT).read_to_end(&mut content).ok()?;
    Some(content)
}

fn bind(folder: &OwnedFd, new_root: &OwnedFd, name: &str, writable: bool) -> rustix::io::Result<()> {
    let clone = mount::clone(folder)?;
    mount::attach(&clone, new_root, name)?;
    mount::set_writable(&clone, writable)
}

fn choose_etc(etc: &OwnedFd) -> rustix::io::Result<EtcMount> {
    let readable = openat(etc, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(readable)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(EtcMount::choose(names.iter().map(Vec::as_slice)))
}

fn overlay_etc(state: &OwnedFd, new_root: &OwnedFd) -> rustix::io::Result<()> {
    let lower = mount::open_folder(new_root, "etc")?;
    let [upper, work] = ["upper", "work"].map(|name| writable_folder(state, name));
    let overlay = mount::writable_overlay(lower.as_fd(), upper?.as_fd(), work?.as_fd())?;
    mount::attach(overlay, new_root, "etc")
}

/// The folder `name` of `state`, created if it is missing.
fn writable_folder(state: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdirat(state, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(cause) => return Err(cause),
    }
    mount::open_folder(state, name)
}

/// Tells systemd which disk the system is on, which it cannot see from an overlay: for gpt-auto and the ESP's mount unit.
///
/// systemd reads the link `/run/systemd/volatile-root` (`src/shared/blockdev-util.c`). Best effort; of a file system without a block
/// device of its own (btrfs) nothing can be told.
pub fn name_block_device(sysroot: &Path) {
    let Ok(stat) = stat(sysroot) else { return };
    if major(stat.st_dev) != 0 {
        let device = format!("/dev/block/{}:{}", major(stat.st_dev), minor(stat.st_dev));
        let _ = rustix::fs::symlink(device, "/run/systemd/volatile-root");
    }
}
