//! Reading the tar stream of a layer, entry by entry.
//!
//! The parser is strict where tar readers are known to disagree, because a disagreement means that what was reviewed is not what runs:
//! malformed PAX records, and sizes of which PAX and ustar say different things.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
};

use bootwright_core::error::{Error, IoContext, Result};
use tar_core::{
    EntryType, HEADER_SIZE,
    parse::{Limits, ParseEvent, ParsedEntry, Parser},
};

use super::entry::Meta;

const READ_AHEAD: usize = 256 << 10;
/// Names, link targets and attributes of one entry; attributes are 64 KiB each at most on Linux.
const MAX_METADATA: u32 = 1 << 20;
/// What fits into the size field of a ustar header: only beyond it may PAX say something else.
const MAX_USTAR_SIZE: u64 = 0o77_777_777_777;
/// Attributes that belong to the machine on which the image was built: labels of its policy, notes of its overlay file systems.
const FOREIGN_XATTRS: &[&str] = &["security.selinux", "trusted.overlay.", "user.overlay."];

/// One entry, as it stands in the layer.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) meta: Meta,
    /// Bytes of content that can be read now.
    pub(super) size: u64,
}

/// Types of entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Folder,
    /// With its target.
    Symlink(Vec<u8>),
    /// With the other name.
    Link(Vec<u8>),
    /// Devices and FIFOs.
    Special,
}

/// A tar stream. Reading from it gives the current entry's content.
pub(super) struct Tar<R> {
    source: BufReader<R>,
    parser: Parser,
    /// The current entry's headers.
    headers: Vec<u8>,
    /// Of the current entry's content.
    left: u64,
    padding: u64,
}

impl<R: Read> Tar<R> {
    /// Starts at the beginning of the stream.
    pub(super) fn new(source: R) -> Self {
        let limits = Limits { max_metadata_size: MAX_METADATA, ..Limits::default() };
        let source = BufReader::with_capacity(READ_AHEAD, source);
        Self { source, parser: Parser::new(limits), headers: Vec::new(), left: 0, padding: 0 }
    }

    /// The next entry, or `None` at the end. What was not read of the current one's content is skipped.
    ///
    /// # Errors
    /// `InvalidInput` if this is not a whole and sound tar stream.
    pub(super) fn next(&mut self) -> Result<Option<Raw>> {
        self.skip()?;
        self.headers.clear();
        let mut needed = HEADER_SIZE;
        loop {
            if !self.fill(needed)? {
                return if self.headers.is_empty() { Ok(None) } else { Err(cut_off()) };
            }
            match self.parser.parse(&self.headers).map_err(malformed)? {
                ParseEvent::NeedData { min_bytes } => needed = min_bytes.max(self.headers.len() + 1),
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    self.headers.drain(..consumed.min(self.headers.len()));
                    needed = HEADER_SIZE;
                }
                ParseEvent::End { .. } => return Ok(None),
                ParseEvent::SparseEntry { entry, .. } => {
                    return Err(Error::invalid(format!(
                        "{:?} in a layer is a sparse file",
                        entry.path_lossy()
                    ))
                    .with_hint("make layers with a tool for container images"));
                }
                ParseEvent::Entry { entry, .. } => {
                    let raw = convert(&entry)?;
                    self.left = raw.size;
                    self.padding = entry.padded_size().saturating_sub(entry.size);
                    return Ok(Some(raw));
                }
            }
        }
    }

    /// Reads to the end of the stream, whatever is there.
    pub(super) fn drain(&mut self) -> Result<()> {
        std::io::copy(&mut self.source, &mut std::io::sink()).map(drop).context_io(reading)
    }

    fn skip(&mut self) -> Result<()> {
        let wanted = self.left.saturating_add(self.padding);
        let mut rest = Read::by_ref(&mut self.source).take(wanted);
        let skipped = std::io::copy(&mut rest, &mut std::io::sink()).context_io(reading)?;
        // The padding behind the last entry may be missing together with the end marks.
        if skipped < self.left {
            return Err(cut_off());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Whether there are so many bytes of headers.
    fn fill(&mut self, needed: usize) -> Result<bool> {
        while self.headers.len() < needed {
            let available = self.source.fill_buf().context_io(reading)?;
            let taken = available.len().min(needed - self.headers.len());
            if taken == 0 {
                return Ok(false);
            }
            self.headers.extend_from_slice(available.get(..taken).unwrap_or_default());
            self.source.consume(taken);
        }
        Ok(true)
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.source.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if n == 0 && wanted > 0 {
            return Err(std::io::Error::other(cut_off()));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn convert(entry: &ParsedEntry<'_>) -> Result<Raw> {
    check_size(entry)?;
    let target = || entry.link_target.as_deref().unwrap_or_default().to_owned();
    let kind = match entry.entry_type {
        EntryType::Regular | EntryType::Continuous if entry.path.ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::Regular,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink(target()),
        EntryType::Link => Kind::Link(target()),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        other => {
            return Err(Error::invalid(format!(
                "{:?} in a layer is of the type {other:?}",
                entry.path_lossy()
            ))
            .with_hint("make layers with a tool for container images"));
        }
    };
    Ok(Raw { path: entry.path.to_vec(), kind, meta: meta(entry)?, size: entry.size })
}

fn check_size(entry: &ParsedEntry<'_>) -> Result<()> {
    let ustar = entry.header.entry_size().map_err(malformed)?;
    if ustar == entry.size || ustar == 0 || entry.size > MAX_USTAR_SIZE {
        return Ok(());
    }
    let name = entry.path_lossy();
    Err(Error::invalid(format!(
        "the size of {name:?} in a layer is {ustar} in one place and {} in another",
        entry.size
    ))
    .with_hint("the layer was made by a defective tool, or to deceive: do not use it"))
}

fn meta(entry: &ParsedEntry<'_>) -> Result<Meta> {
    let number = |number: u64| {
        u32::try_from(number).map_err(|_| {
            Error::invalid(format!("the owner {number} of {:?} in a layer is too large", entry.path_lossy()))
        })
    };
    let mut xattrs = BTreeMap::new();
    for (name, value) in &entry.xattrs {
        let name = xattr_name(name, &entry.path_lossy())?;
        if !FOREIGN_XATTRS.iter().any(|foreign| name.starts_with(foreign)) {
            xattrs.insert(name, hex::encode(value));
        }
    }
    Ok(Meta { mode: entry.mode & 0o7777, uid: number(entry.uid)?, gid: number(entry.gid)?, xattrs })
}

/// Names are at most 255 bytes and have a class in front of a dot (xattr(7)).
fn xattr_name(name: &[u8], path: &Cow<'_, str>) -> Result<String> {
    let text = std::str::from_utf8(name).ok().filter(|name| {
        name.len() <= 255
            && !name.contains('\0')
            && name.split_once('.').is_some_and(|(class, rest)| !class.is_empty() && !rest.is_empty())
    });
    text.map(str::to_owned).ok_or_else(|| {
        Error::invalid(format!("{path:?} in a layer has an extended attribute with an impossible name"))
    })
}

fn reading() -> String {
    "read a layer".to_owned()
}

fn cut_off() -> Error {
    Error::invalid("a layer ends in the middle of a file").with_hint("build the image again")
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid("a layer is not a sound tar file")
        .with_hint("build the image again, with a tool for container images")
        .with_source(error)
}
