//! Laying one layer over the tree of those below it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use tar::EntryType;

use super::{Entry, Kind, LayerTree, OPAQUE, Span, WHITEOUT, pax::Extensions, tree::Placed};
use crate::{
    error::{Error, IoContext, Result},
    etc_merge::{Metadata, Special},
    fs::Protection,
};

/// Names and attributes before one entry: the kernel allows 64 KiB for the list of attributes' names and for each value.
const EXTENSION_LIMIT: u64 = 1 << 20;

impl LayerTree {
    /// Lays layer `number`, in `file`, over the tree.
    pub(super) fn apply(&mut self, number: usize, file: &File) -> Result<()> {
        let malformed = |error| Error::invalid("the layer is not a whole tar file").with_source(error);
        let mut archive = tar::Archive::new(file);
        let mut before = Extensions::default();
        for entry in archive.entries_with_seek().map_err(malformed)?.raw(true) {
            let mut entry = entry.map_err(malformed)?;
            match entry.header().entry_type() {
                EntryType::XHeader => before.add_pax(&extension(&mut entry)?)?,
                EntryType::GNULongName => before.path = Some(long_name(&mut entry)?),
                EntryType::GNULongLink => before.link = Some(long_name(&mut entry)?),
                // What is said of all entries to come are comments, such as the commit that `git archive` was made from.
                EntryType::XGlobalHeader => {}
                _ => self.put(number, &entry, &std::mem::take(&mut before))?,
            }
        }
        Ok(())
    }

    fn put<R: Read>(&mut self, number: usize, entry: &tar::Entry<'_, R>, before: &Extensions) -> Result<()> {
        let name = before.path.clone().unwrap_or_else(|| OsStr::from_bytes(&entry.path_bytes()).to_owned());
        let path = clean(Path::new(&name))?;
        let Some(last) = path.file_name() else {
            // The root itself.
            let metadata = metadata(entry.header(), before)?;
            self.nodes
                .insert(path, Placed { entry: Entry { kind: Kind::Directory, metadata }, layer: number });
            return Ok(());
        };
        let folder = self.folder(number, path.parent().unwrap_or(Path::new("")))?;
        match last.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
            Some(_) if last.as_bytes() == OPAQUE.as_bytes() => self.hide(number, &folder, false),
            Some(hidden) => self.hide(number, &folder.join(OsStr::from_bytes(hidden)), true),
            None => {
                let path = folder.join(last);
                let found = self.entry(number, entry, before, &path)?;
                self.replace(number, path, found);
            }
        }
        Ok(())
    }

    /// Puts an entry in its place. Only a folder over a folder keeps what was in it.
    fn replace(&mut self, layer: usize, path: PathBuf, entry: Entry) {
        if entry.kind != Kind::Directory {
            self.remove_below(&path, |_| true);
        }
        self.nodes.insert(path, Placed { entry, layer });
    }

    /// Hides what lower layers have at and below `path`; what this layer put there stays.
    fn hide(&mut self, number: usize, path: &Path, itself: bool) {
        self.remove_below(path, |placed| placed.layer < number);
        let lower = self.nodes.get(path).is_some_and(|placed| placed.layer < number);
        if itself && lower && self.below(path).next().is_none() {
            self.nodes.remove(path);
        }
    }

    fn remove_below(&mut self, path: &Path, unwanted: impl Fn(&Placed) -> bool) {
        let found: Vec<_> = self
            .below(path)
            .filter(|(_, placed)| unwanted(placed))
            .map(|(path, _)| path.to_owned())
            .collect();
        for path in found {
            // A folder that this layer put something in stays for it.
            if self.below(&path).all(|(_, placed)| unwanted(placed)) {
                self.nodes.remove(&path);
            }
        }
    }

    /// The folder in which a layer puts something: links followed, missing ones made.
    fn folder(&mut self, layer: usize, path: &Path) -> Result<PathBuf> {
        let mut folder = PathBuf::new();
        for name in path {
            let next = folder.join(name);
            if !self.nodes.contains_key(&next) {
                self.nodes.insert(next.clone(), Placed { entry: Entry::implied(), layer });
            }
            let found = self.resolve(&next);
            let is_folder = |path: &PathBuf| {
                self.nodes.get(path).is_some_and(|placed| placed.entry.kind == Kind::Directory)
            };
            folder = found.filter(is_folder).ok_or_else(|| {
                Error::invalid(format!("the layer has a file in {}, which is no folder", path.display()))
            })?;
        }
        Ok(folder)
    }

    fn entry<R: Read>(
        &self,
        layer: usize,
        entry: &tar::Entry<'_, R>,
        before: &Extensions,
        path: &Path,
    ) -> Result<Entry> {
        let header = entry.header();
        let link = || match &before.link {
            Some(link) => link.clone(),
            None => OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default()).to_owned(),
        };
        let kind = match header.entry_type() {
            EntryType::Link => return self.linked(Path::new(&link()), path),
            EntryType::Regular | EntryType::Continuous => {
                let size = header.entry_size().map_err(|error| number("size", path, error))?;
                let other = before.number("size")?.is_some_and(|other| other != size);
                if other || before.is_sparse() {
                    return Err(unsupported("a file whose size stands in two places", path));
                }
                Kind::File(Span { layer, offset: entry.raw_file_position(), size })
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link()),
            EntryType::Fifo => Kind::Special(Special::Fifo),
            EntryType::Char => Kind::Special(Special::CharDevice(device(header, path)?)),
            EntryType::Block => Kind::Special(Special::BlockDevice(device(header, path)?)),
            other => {
                return Err(unsupported(
                    &format!("an entry of the type {:?}", other.as_byte() as char),
                    path,
                ));
            }
        };
        Ok(Entry { kind, metadata: metadata(header, before)? })
    }

    /// A hard link is the file that it names, under another name.
    fn linked(&self, target: &Path, path: &Path) -> Result<Entry> {
        let clean = clean(target)?;
        let folder = self.resolve(clean.parent().unwrap_or(Path::new("")));
        let found = folder.and_then(|folder| self.nodes.get(&folder.join(clean.file_name()?)));
        match found {
            Some(placed) if placed.entry.kind != Kind::Directory => Ok(placed.entry.clone()),
            _ => Err(Error::invalid(format!(
                "{} in the layer is a hard link to {}, which is no file",
                path.display(),
                target.display()
            ))),
        }
    }
}

fn unsupported(what: &str, path: &Path) -> Error {
    Error::invalid(format!("the layer has {what}: {}", path.display())).with_hint("build the image again")
}

fn number(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::invalid(format!("the {what} of {} in the layer is malformed", path.display())).with_source(error)
}

/// Bytes of an extension, bounded.
fn extension(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(EXTENSION_LIMIT + 1).read_to_end(&mut bytes).context_io(|| "read the layer".to_owned())?;
    if bytes.len() as u64 > EXTENSION_LIMIT {
        return Err(Error::invalid("an extended header in the layer is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn long_name(entry: &mut impl Read) -> Result<OsString> {
    let bytes = extension(entry)?;
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(OsStr::from_bytes(name).to_owned())
}

fn metadata(header: &tar::Header, before: &Extensions) -> Result<Metadata> {
    let id = |key: &str, stands: std::io::Result<u64>| {
        let stands = stands.map_err(|error| number(key, Path::new("an entry"), error))?;
        let found = before.number(key)?.unwrap_or(stands);
        u32::try_from(found).map_err(|_| Error::invalid(format!("the layer has a file of the {key} {found}")))
    };
    let mode = header.mode().map_err(|error| number("mode", Path::new("an entry"), error))?;
    let seconds = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
    Ok(Metadata {
        mode: mode & 0o7777,
        uid: id("uid", header.uid())?,
        gid: id("gid", header.gid())?,
        xattrs: before.xattrs(),
        protection: Protection::default(),
        mtime: Some(before.time("mtime")?.unwrap_or((seconds, 0))),
    })
}

fn device(header: &tar::Header, path: &Path) -> Result<u64> {
    let part = |part: std::io::Result<Option<u32>>| {
        Ok(part.map_err(|error| number("device number", path, error))?.unwrap_or_default())
    };
    Ok(rustix::fs::makedev(part(header.device_major())?, part(header.device_minor())?))
}

/// The path without `.` and a leading slash.
///
/// # Errors
/// `InvalidInput` if it goes up.
fn clean(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                return Err(Error::invalid(format!(
                    "the layer has the path {}, which goes up",
                    path.display()
                )));
            }
            _ => {}
        }
    }
    Ok(clean)
}
