//! Extended attributes of anything, links included, named by an open folder and a name in it.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr},
    io::Errno,
};

use super::{Xattrs, tree::SELINUX_LABEL};

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` of the kernel (include/uapi/linux/limits.h).
const MAX_LEN: usize = 64 << 10;

/// Attributes that say something about one inode on one disk: overlayfs' own notes, and the seal of EVM, which covers the inode number.
const NOT_CONFIGURATION: &[&[u8]] = &[b"trusted.overlay.", b"user.overlay.", b"security.evm"];

/// There is no `*xattrat` before Linux 6.13, and the calls on open files refuse links and pipes: go through procfs,
/// which resolves the folder by its descriptor, so that no path above it matters.
fn path_of(dir: impl AsFd, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
    path.push(name);
    path
}

/// All attributes that the caller may see, but for those that are no configuration. Empty where the file system has none.
pub(super) fn read(dir: impl AsFd, name: &OsStr) -> std::io::Result<Xattrs> {
    let path = path_of(dir, name);
    let mut list = vec![0; MAX_LEN];
    let len = match llistxattr(&path, list.as_mut_slice()) {
        Ok(len) => len,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = list.get(..len).unwrap_or_default().split(|byte| *byte == 0);
    let mut found = BTreeMap::new();
    for name in names.filter(|name| !name.is_empty()) {
        if NOT_CONFIGURATION.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = vec![0; MAX_LEN];
        match lgetxattr(&path, name, value.as_mut_slice()) {
            Ok(len) => {
                value.truncate(len);
                value.shrink_to_fit();
                found.insert(OsString::from(OsStr::from_bytes(name)), value);
            }
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Sets all of `xattrs`.
///
/// A failure is an error for every attribute but the `SELinux` label: a file system without labels (`ENOTSUP`), or a
/// kernel whose policy does not know this one (`EINVAL`), is no reason to lose the file, and a relabel repairs it.
pub(super) fn write(dir: impl AsFd, name: &OsStr, xattrs: &Xattrs) -> std::io::Result<()> {
    let path = path_of(dir, name);
    for (attribute, value) in xattrs {
        match lsetxattr(&path, attribute.as_os_str(), value, XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::INVAL) if *attribute == SELINUX_LABEL => {
                tracing::debug!(path = %path.display(), "the SELinux label could not be set");
            }
            done => done?,
        }
    }
    Ok(())
}
