//! Writes an [`EtcTree`] into an empty folder.

use std::{
    ffi::OsStr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, chownat,
        mkdirat, mknodat, openat, symlinkat, utimensat,
    },
    io::Errno,
};

use super::{Content, EtcTree, FileContent, Metadata, Node, NodeKind, Special, xattr};
use crate::{
    error::{Effect, Error, ErrorKind, IoContext, Result},
    fs::{Root, hash_into},
};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Materialised {
    /// Entries made, the folder itself not counted.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Writes `tree` into the folder `target`, which exists and is empty; its own mode, owner and attributes are set last.
///
/// Files get content, owner, mode, extended attributes, protection and, if known, time. Whoever may not set an owner or an attribute gets an
/// error, not a lesser file; only a `SELinux` label that the file system or policy refuses is passed over. Sockets are left out, and so are
/// live files that are gone by now.
///
/// # Errors
/// `InvalidInput` if the folder is not empty, `Integrity` if a stored file does not have its digest, else as the system says.
///
/// # Crash
/// Every entry is one counted mutation, and none is synced: until the caller syncs the file system, the folder may hold anything. So write to a folder
/// that nothing uses, sync ([`Root::sync_filesystem`]), then put it in place.
pub fn materialise(tree: &EtcTree, target: &Root) -> Result<Materialised> {
    let what = || format!("write folder {}", target.label().display());
    if target.dir().entries().context_io(what)?.next().is_some() {
        return Err(Error::invalid(format!("{} is not empty", target.label().display()))
            .with_hint("remove what an interrupted run left there, and run it again"));
    }
    let top = openat(target.dir(), ".", FOLDER, Mode::empty()).context_io(what)?;
    let mut writer = Writer { target, open: Vec::new(), done: Materialised::default() };
    writer.write_all(tree, top).map_err(|error| error.with_effect(Effect::Partial))?;
    Ok(writer.done)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that is being filled.
struct OpenFolder<'a> {
    path: PathBuf,
    dir: OwnedFd,
    metadata: &'a Metadata,
}

struct Writer<'a> {
    target: &'a Root,
    /// From the top down to the folder that is being filled.
    open: Vec<OpenFolder<'a>>,
    done: Materialised,
}

impl<'a> Writer<'a> {
    fn write_all(&mut self, tree: &'a EtcTree, top: OwnedFd) -> Result<()> {
        let mut top = Some(top);
        for (path, node) in tree.iter() {
            if let Some(dir) = top.take() {
                self.open.push(OpenFolder { path: PathBuf::new(), dir, metadata: &node.metadata });
                continue;
            }
            self.finish_down_to(path.parent().unwrap_or(Path::new("")))?;
            self.write(path, node)?;
        }
        while self.finish_one()? {}
        Ok(())
    }

    /// A folder's metadata comes after its content, which changes its time and may need write permission.
    fn finish_down_to(&mut self, parent: &Path) -> Result<()> {
        while self.open.last().is_some_and(|folder| folder.path != parent) {
            self.finish_one()?;
        }
        Ok(())
    }

    fn finish_one(&mut self) -> Result<bool> {
        let Some(folder) = self.open.pop() else { return Ok(false) };
        apply(&folder.dir, OsStr::new("."), folder.metadata, Applies::ToAll)
            .context_io(|| self.what(&folder.path))?;
        Ok(true)
    }

    fn write(&mut self, path: &Path, node: &'a Node) -> Result<()> {
        self.target.faults().before(&self.what(path))?;
        let name = path.file_name().unwrap_or_default();
        let Some(dir) = self.open.last().map(|folder| &folder.dir) else {
            return Err(Error::internal("an entry of /etc came before its folder"));
        };
        let written = match &node.kind {
            NodeKind::Directory => {
                let dir = make_folder(dir, name).context_io(|| self.what(path))?;
                self.open.push(OpenFolder { path: path.to_owned(), dir, metadata: &node.metadata });
                Some(0)
            }
            NodeKind::File(file) => self.write_file(dir, path, file, &node.metadata)?,
            NodeKind::Symlink(target) => {
                let made = symlinkat(target.as_os_str(), dir, name).map_err(Into::into);
                let done = made.and_then(|()| apply(dir, name, &node.metadata, Applies::ToLink));
                done.context_io(|| self.what(path))?;
                Some(0)
            }
            NodeKind::Special(special) => {
                make_special(dir, name, *special, &node.metadata).context_io(|| self.what(path))?
            }
        };
        if let Some(bytes) = written {
            self.done.entries += 1;
            self.done.bytes += bytes;
        }
        Ok(())
    }

    /// Returns the number of bytes, or `None` if the file is gone where it was to come from.
    fn write_file(
        &self,
        dir: &OwnedFd,
        path: &Path,
        file: &FileContent,
        metadata: &Metadata,
    ) -> Result<Option<u64>> {
        let live = matches!(file.content, Content::Live(_));
        let mut reader = match file.content.open() {
            Err(error) if live && error.kind() == ErrorKind::NotFound => return Ok(None),
            reader => reader?,
        };
        let what = || self.what(path);
        let name = path.file_name().unwrap_or_default();
        let fd = openat(dir, name, NEW_FILE, Mode::from_raw_mode(0o600)).context_io(what)?;
        let (sha256, size) = hash_into(&mut reader, &mut std::fs::File::from(fd)).context_io(what)?;
        if !live && sha256 != file.sha256 {
            return Err(Error::integrity(format!("{} in the store is not what it was", path.display()))
                .with_context("expected", &file.sha256)
                .with_context("found", sha256));
        }
        apply(dir, name, metadata, Applies::ToAll).context_io(what)?;
        Ok(Some(size))
    }

    fn what(&self, path: &Path) -> String {
        format!("write {}", self.target.label().join(path).display())
    }
}

fn make_folder(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    mkdirat(dir, name, Mode::from_raw_mode(0o700))?;
    openat(dir, name, FOLDER, Mode::empty())
}

fn make_special(
    dir: &OwnedFd,
    name: &OsStr,
    special: Special,
    metadata: &Metadata,
) -> std::io::Result<Option<u64>> {
    let (kind, number) = match special {
        Special::Fifo => (FileType::Fifo, 0),
        Special::CharDevice(number) => (FileType::CharacterDevice, number),
        Special::BlockDevice(number) => (FileType::BlockDevice, number),
        Special::Socket => return Ok(None),
    };
    mknodat(dir, name, kind, Mode::from_raw_mode(0o600), number)?;
    apply(dir, name, metadata, Applies::ToAll)?;
    Ok(Some(0))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Applies {
    ToAll,
    /// Links have no mode of their own.
    ToLink,
}

/// Owner before mode and attributes: a change of owner clears setuid, setgid and file capabilities (chown(2)). Protection comes last.
fn apply(dir: &OwnedFd, name: &OsStr, metadata: &Metadata, applies: Applies) -> std::io::Result<()> {
    let owner = Some(Uid::from_raw(metadata.uid));
    chownat(dir, name, owner, Some(Gid::from_raw(metadata.gid)), AtFlags::SYMLINK_NOFOLLOW)?;
    if applies == Applies::ToAll {
        chmodat(dir, name, Mode::from_raw_mode(metadata.mode & 0o7777), AtFlags::empty())?;
    }
    xattr::write(dir, name, &metadata.xattrs)?;
    if let Some((tv_sec, nanoseconds)) = metadata.mtime {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec: nanoseconds.into() },
        };
        utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(metadata.protection.write(dir, name)?)
}
