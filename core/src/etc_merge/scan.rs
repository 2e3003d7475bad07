//! Reads a real folder into an [`EtcTree`].

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat},
    io::Errno,
};

use super::{Content, EtcTree, FileContent, Metadata, Node, NodeKind, Special, xattr};
use crate::{
    error::{Error, IoContext, Result},
    fs::{Protection, Root},
    tree::Reader,
};

/// Folders in folders: real ones have fewer than ten.
const MAX_DEPTH: usize = 100;

/// Reads everything in `root`, following no link.
///
/// The files' content is read once, for its digest; the tree then refers to the files by path, so that a merge result copies what
/// is there when it is written. What disappears while this runs counts as never there. The folder should be the deployment's own, not
/// a view of it with other things mounted inside.
///
/// # Errors
/// `Permission` or `Io` as the system says, `InvalidInput` for more than 100 folders inside each other.
pub fn scan(root: &Root) -> Result<EtcTree> {
    let what = || format!("read folder {}", root.label().display());
    // cap-std opens folders with `O_PATH`, which cannot be listed.
    let dir = Arc::new(openat(root.dir(), ".", FOLDER, Mode::empty()).context_io(what)?);
    let stat = rustix::fs::fstat(&dir).context_io(what)?;
    let metadata = metadata(&stat, &dir, OsStr::new(".")).context_io(what)?;
    let mut scan = Scan { top: Arc::clone(&dir), label: root.label(), tree: EtcTree::new(metadata) };
    scan.folder(&dir, Path::new(""), 0)?;
    Ok(scan.tree)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`: a pipe put in a file's place must not stop the scan.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

struct Scan<'a> {
    top: Arc<OwnedFd>,
    label: &'a Path,
    tree: EtcTree,
}

impl Scan<'_> {
    fn folder(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "{} has more than {MAX_DEPTH} folders inside each other",
                self.label.display()
            )));
        }
        for name in names(dir).context_io(|| self.what("list", path))? {
            let path = path.join(&name);
            let Some(node) = self.node(dir, &name, &path)? else { continue };
            let is_directory = node.is_directory();
            self.tree.insert(&path, node)?;
            if is_directory {
                self.subfolder(dir, &name, &path, depth)?;
            }
        }
        Ok(())
    }

    fn subfolder(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> Result<()> {
        match none_if_gone(openat(dir, name, FOLDER, Mode::empty())).context_io(|| self.what("open", path))? {
            Some(sub) => self.folder(&sub, path, depth + 1),
            None => Ok(()),
        }
    }

    fn node(&self, dir: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Node>> {
        let what = || self.what("read", path);
        let stat = none_if_gone(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)).context_io(what)?;
        let Some(stat) = stat else { return Ok(None) };
        let found = self.kind(&stat, dir, name, path).and_then(|kind| {
            Ok(Node { kind, metadata: with_protection(&stat, dir, name).context_io(what)? })
        });
        match found {
            Ok(node) => Ok(Some(node)),
            Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn kind(&self, stat: &Stat, dir: &OwnedFd, name: &OsStr, path: &Path) -> Result<NodeKind> {
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).context_io(|| self.what("read link", path))?;
                NodeKind::Symlink(OsString::from_vec(target.into_bytes()))
            }
            FileType::Fifo => NodeKind::Special(Special::Fifo),
            FileType::CharacterDevice => NodeKind::Special(Special::CharDevice(stat.st_rdev)),
            FileType::BlockDevice => NodeKind::Special(Special::BlockDevice(stat.st_rdev)),
            FileType::Socket => NodeKind::Special(Special::Socket),
            _ => NodeKind::File(FileContent::measure(self.content(path))?),
        })
    }

    /// Re-opened by path when it is copied, rather than kept open: there may be thousands of files.
    fn content(&self, path: &Path) -> Content {
        let (top, label, path) = (Arc::clone(&self.top), self.label.join(path), path.to_owned());
        Content::Live(Arc::new(move || {
            let file = open_below(&top, &path).context_io(|| format!("open {}", label.display()))?;
            Ok(Box::new(std::fs::File::from(file)) as Reader)
        }))
    }

    fn what(&self, verb: &str, path: &Path) -> String {
        format!("{verb} {}", self.label.join(path).display())
    }
}

/// Name by name, so that no link is followed and the length of the whole path does not matter.
fn open_below(top: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    let mut dir: Option<OwnedFd> = None;
    for component in folder {
        let parent = dir.as_ref().map_or_else(|| top.as_fd(), OwnedFd::as_fd);
        dir = Some(openat(parent, component, FOLDER, Mode::empty())?);
    }
    openat(dir.as_ref().map_or_else(|| top.as_fd(), OwnedFd::as_fd), name, FILE, Mode::empty())
}

fn names(dir: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// The folder that is scanned is not asked for its own: it has to be put in place, and to go.
fn with_protection(stat: &Stat, dir: &OwnedFd, name: &OsStr) -> std::io::Result<Metadata> {
    Ok(Metadata { protection: Protection::read(dir, name)?, ..metadata(stat, dir, name)? })
}

fn metadata(stat: &Stat, dir: &OwnedFd, name: &OsStr) -> std::io::Result<Metadata> {
    Ok(Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        xattrs: xattr::read(dir, name)?,
        // `st_mtime_nsec` is below a thousand million.
        protection: Protection::default(),
        mtime: Some((stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default())),
    })
}

fn none_if_gone<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
