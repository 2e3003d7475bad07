//! Writing the tree as one tar stream, for programs that make file systems of it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Write,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use super::{Entry, Kind, LayerTree, Span};
use crate::{
    error::{IoContext, Result},
    etc_merge::{Metadata, Special},
};

/// Room for a path or a link's target in a header; longer ones get a record before it.
const NAME: usize = 100;

impl LayerTree {
    /// Writes everything in the order of paths: each folder before what is in it, the second name of a file as a hard link to the first.
    /// The root itself is left out: programs that make file systems refuse a path without a name.
    ///
    /// # Errors
    /// Those of reading the layers, and of the writer.
    pub fn write_tar(&self, out: &mut dyn Write) -> Result<()> {
        let mut stream = Stream { tree: self, tar: Builder::new(out), names: BTreeMap::new() };
        for (path, entry) in self.iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
            stream.write(path, entry).map_err(|error| error.with_context("path", path.display()))?;
        }
        stream.tar.finish().context_io(what)
    }
}

fn what() -> String {
    "write the tree as one tar stream".to_owned()
}

struct Stream<'a> {
    tree: &'a LayerTree,
    tar: Builder<&'a mut dyn Write>,
    names: BTreeMap<Span, PathBuf>,
}

impl Stream<'_> {
    fn write(&mut self, name: &Path, entry: &Entry) -> Result<()> {
        let mut header = header(&entry.metadata);
        match &entry.kind {
            Kind::Directory => self.put(header, EntryType::Directory, name, None, &entry.metadata),
            Kind::Symlink(target) => {
                self.put(header, EntryType::Symlink, name, Some(target), &entry.metadata)
            }
            Kind::Special(special) => {
                let (kind, number) = match *special {
                    Special::Fifo => (EntryType::Fifo, 0),
                    Special::CharDevice(number) => (EntryType::Char, number),
                    Special::BlockDevice(number) => (EntryType::Block, number),
                    Special::Socket => return Ok(()),
                };
                header.set_device_major(rustix::fs::major(number)).context_io(what)?;
                header.set_device_minor(rustix::fs::minor(number)).context_io(what)?;
                self.put(header, kind, name, None, &entry.metadata)
            }
            Kind::File(span) => match self.names.get(span).cloned() {
                Some(first) => {
                    self.put(header, EntryType::Link, name, Some(first.as_os_str()), &entry.metadata)
                }
                None => self.file(header, name, span, &entry.metadata),
            },
        }
    }

    fn file(&mut self, mut header: Header, name: &Path, span: &Span, metadata: &Metadata) -> Result<()> {
        self.names.insert(*span, name.to_owned());
        header.set_entry_type(EntryType::Regular);
        header.set_size(span.size);
        self.records(&mut header, name, None, metadata)?;
        header.set_cksum();
        self.tar.append(&header, self.tree.open(span)?).context_io(what)
    }

    fn put(
        &mut self,
        mut header: Header,
        kind: EntryType,
        name: &Path,
        link: Option<&OsStr>,
        metadata: &Metadata,
    ) -> Result<()> {
        header.set_entry_type(kind);
        self.records(&mut header, name, link, metadata)?;
        header.set_cksum();
        self.tar.append(&header, std::io::empty()).context_io(what)
    }

    /// Names go into the header, or before it where it has no room; attributes always before it.
    fn records(
        &mut self,
        header: &mut Header,
        name: &Path,
        link: Option<&OsStr>,
        metadata: &Metadata,
    ) -> Result<()> {
        let mut records: Vec<(String, &[u8])> = Vec::new();
        let fields = header.as_old_mut();
        let named =
            [("path", Some(name.as_os_str()), &mut fields.name), ("linkpath", link, &mut fields.linkname)];
        for (key, value, field) in named {
            let value = value.unwrap_or_default().as_bytes();
            if value.len() > NAME {
                records.push((key.to_owned(), value));
            }
            for (to, from) in field.iter_mut().zip(value) {
                *to = *from;
            }
        }
        for (key, value) in &metadata.xattrs {
            records.push((format!("SCHILY.xattr.{}", key.to_string_lossy()), value));
        }
        let records = records.iter().map(|(key, value)| (key.as_str(), *value));
        self.tar.append_pax_extensions(records).context_io(what)
    }
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(metadata.mode);
    header.set_uid(metadata.uid.into());
    header.set_gid(metadata.gid.into());
    header.set_mtime(metadata.mtime.map_or(0, |(seconds, _)| u64::try_from(seconds).unwrap_or_default()));
    header.set_size(0);
    header
}
