//! Files that nobody may change, rename or remove, root included (`chattr +i` and `+a`; `FS_IMMUTABLE_FL` and `FS_APPEND_FL` in linux/fs.h).
//!
//! Administrators put it on files in `/etc` that a service keeps rewriting. It is part of what they want, and it must not keep what is
//! of no use any more from going.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, IFlags, Mode, OFlags, Statx, StatxAttributes, StatxFlags, ioctl_getflags,
        ioctl_setflags, openat, statx,
    },
    io::Errno,
};

/// Whether a file is protected, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protection {
    /// Nothing about it can be changed.
    pub immutable: bool,
    /// It can only grow.
    pub append_only: bool,
}

/// `NONBLOCK`: a pipe would wait for somebody who writes.
const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Protection {
    /// Reads it from a file or folder, without opening it.
    ///
    /// # Errors
    /// As statx(2). A file system that has no such thing protects nothing.
    pub fn read(dir: impl AsFd, name: &OsStr) -> Result<Self, Errno> {
        Ok(Self::of(&look(dir, name)?))
    }

    fn of(found: &Statx) -> Self {
        Self {
            immutable: found.stx_attributes.contains(StatxAttributes::IMMUTABLE),
            append_only: found.stx_attributes.contains(StatxAttributes::APPEND),
        }
    }

    /// Puts it on a file or folder; to be done last. Costs nothing where there is nothing to do.
    ///
    /// # Errors
    /// As `FS_IOC_SETFLAGS` (`ioctl_iflags(2)`): `CAP_LINUX_IMMUTABLE` is needed.
    pub fn write(self, dir: impl AsFd, name: &OsStr) -> Result<(), Errno> {
        if self == Self::default() { Ok(()) } else { set(&openat(dir, name, OPEN, Mode::empty())?, self) }
    }
}

fn set(file: &OwnedFd, wanted: Protection) -> Result<(), Errno> {
    let mut flags = ioctl_getflags(file)?;
    flags.set(IFlags::IMMUTABLE, wanted.immutable);
    flags.set(IFlags::APPEND, wanted.append_only);
    ioctl_setflags(file, flags)
}

/// Takes it off a folder and everything in it, links not followed. Returns whether there was any.
pub(super) fn lift(dir: impl AsFd, name: &OsStr) -> Result<bool, Errno> {
    let found = look(&dir, name)?;
    let protected = Protection::of(&found) != Protection::default();
    let is_folder = FileType::from_raw_mode(found.stx_mode.into()).is_dir();
    if !protected && !is_folder {
        return Ok(false);
    }
    let open = openat(dir, name, OPEN, Mode::empty())?;
    if protected {
        set(&open, Protection::default())?;
    }
    let mut any = protected;
    if !is_folder {
        return Ok(any);
    }
    for entry in Dir::read_from(&open)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        any |= !matches!(name, b"." | b"..") && lift(&open, OsStr::from_bytes(name))?;
    }
    Ok(any)
}

fn look(dir: impl AsFd, name: &OsStr) -> Result<Statx, Errno> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        etc_merge::{materialise, scan},
        fs::{Faults, Root},
    };

    const IMMUTABLE: Protection = Protection { immutable: true, append_only: false };
    const APPEND_ONLY: Protection = Protection { immutable: false, append_only: true };

    /// A folder `etc` with a protected folder, and two protected files in it.
    fn protected(root: &Root) {
        root.create_dir_all("etc/a").unwrap();
        let folder = root.sub("etc/a").unwrap();
        for (name, protection) in [("fixed", IMMUTABLE), ("log", APPEND_ONLY)] {
            folder.replace(name, b"text", crate::fs::ReplaceStyle::Relaxed).unwrap();
            protection.write(folder.dir(), OsStr::new(name)).unwrap();
        }
        IMMUTABLE.write(root.dir(), OsStr::new("etc/a")).unwrap();
    }

    fn of(root: &Root, path: &str) -> Protection {
        Protection::read(root.dir(), OsStr::new(path)).unwrap()
    }

    /// Needs root, and a file system with such flags below the folder for temporary files.
    #[test]
    fn what_is_protected_is_copied_so_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        protected(&root);
        let tree = scan(&root.sub("etc").unwrap()).unwrap();
        materialise(&tree, &root.make_sub("copy").unwrap()).unwrap();
        assert_eq!(
            (of(&root, "copy/a"), of(&root, "copy/a/fixed"), of(&root, "copy/a/log")),
            (IMMUTABLE, IMMUTABLE, APPEND_ONLY)
        );
        assert!(root.remove_file("copy/a/fixed").is_err(), "it is not protected at all");
        for name in ["copy", "etc"] {
            assert!(root.remove_dir_all(name).unwrap());
            assert!(!root.exists(name));
        }
    }
}
