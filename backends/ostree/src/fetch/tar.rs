//! Reading the tar stream of a layer, entry by entry.
//!
//! The parser is strict where tar readers are known to disagree, because a disagreement means that what was reviewed is not what runs:
//! malformed PAX records, and sizes of which PAX and ustar say different things.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
};

use bootwright_core::{
    error::{Error, IoContext, Result},
    layers::headers_wanted,
};
use tar_core::{
    EntryType, HEADER_SIZE, PaxError, PaxExtensions,
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

/// What extended attributes begin with, and the most that one may hold (xattr(7)).
const CLASSES: &[&str] = &["user", "trusted", "security", "system"];
const MAX_XATTR: usize = 64 << 10;

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
                ParseEvent::NeedData { min_bytes } => needed = headers_wanted(self.headers.len(), min_bytes)?,
                ParseEvent::GlobalExtensions { consumed, pax_data } => {
                    check_global(pax_data)?;
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
                    // Whatever the size is: rounding it up may be too much for its type.
                    self.padding = entry.size.wrapping_neg() % HEADER_SIZE as u64;
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
    entry.pax.map_or(Ok(()), check_pax)?;
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

/// The library takes a record whose length it cannot read for the last one.
fn check_pax(mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let length =
            data.split(|byte| *byte == b' ').next().and_then(|digits| std::str::from_utf8(digits).ok());
        let length = length.and_then(|digits| digits.parse().ok()).filter(|length| *length > 0);
        let rest = length.and_then(|length: usize| data.get(length..));
        data = rest.ok_or_else(|| malformed(PaxError::Malformed))?;
    }
    Ok(())
}

/// What every tar reader must apply to all entries that follow, and some do not. No tool for images writes such records.
const NOT_GLOBAL: &[&str] = &["path", "linkpath", "size", "uid", "gid", "SCHILY.", "LIBARCHIVE.", "GNU."];

fn check_global(data: &[u8]) -> Result<()> {
    check_pax(data)?;
    for record in PaxExtensions::new(data) {
        let record = record.map_err(malformed)?;
        let key = record.key().map_err(malformed)?;
        if NOT_GLOBAL.iter().any(|refused| key.starts_with(refused)) {
            return Err(Error::invalid(format!("a layer sets {key:?} for all of its files at once"))
                .with_hint("make layers with a tool for container images"));
        }
    }
    Ok(())
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
    let xattrs = xattrs(entry)?;
    Ok(Meta { mode: entry.mode & 0o7777, uid: number(entry.uid)?, gid: number(entry.gid)?, xattrs })
}

fn xattrs(entry: &ParsedEntry<'_>) -> Result<BTreeMap<String, String>> {
    let mut xattrs = BTreeMap::new();
    for (name, value) in &entry.xattrs {
        let name = xattr_name(name, &entry.path_lossy())?;
        // Those of users are for files and folders only.
        let on_link = entry.entry_type == EntryType::Symlink && name.starts_with("user.");
        if on_link || value.len() > MAX_XATTR {
            return Err(Error::invalid(format!(
                "{:?} in a layer has the extended attribute {name:?}, which Linux cannot keep",
                entry.path_lossy()
            ))
            .with_hint("build the image again without it"));
        }
        if !FOREIGN_XATTRS.iter().any(|foreign| name.starts_with(foreign)) {
            xattrs.insert(name, hex::encode(value));
        }
    }
    Ok(xattrs)
}

/// Names are at most 255 bytes and have one of the kernel's classes in front of a dot (xattr(7)).
fn xattr_name(name: &[u8], path: &str) -> Result<String> {
    let text = std::str::from_utf8(name).ok().filter(|name| {
        name.len() <= 255
            && !name.contains('\0')
            && name.split_once('.').is_some_and(|(class, rest)| CLASSES.contains(&class) && !rest.is_empty())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<(Raw, u64)>> {
        let mut tar = Tar::new(bytes);
        let mut found = Vec::new();
        while let Some(raw) = tar.next()? {
            let content = std::io::copy(&mut tar, &mut std::io::sink()).context_io(reading)?;
            found.push((raw, content));
        }
        Ok(found)
    }

    fn sample() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions([("SCHILY.xattr.user.a", b"1\n2".as_slice()), ("size", b"3")]).unwrap();
        for (name, content) in [("a", "abc".to_owned()), ("b", "b".repeat(2000))] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o100_644);
            tar.append_data(&mut header, name.repeat(150), content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn attributes_may_hold_the_end_of_a_line() {
        let found = read_all(&sample()).unwrap();
        let sizes: Vec<_> = found.iter().map(|(raw, content)| (raw.size, *content)).collect();
        assert_eq!(sizes, [(3, 3), (2000, 2000)]);
        assert_eq!(found[0].0.meta.xattrs.get("user.a").unwrap(), "310a32");
        assert_eq!((found[0].0.path.len(), found[0].0.meta.mode), (150, 0o644));
    }

    /// One entry of this type, with these records, this size in its header and this content.
    fn one(kind: u8, records: &[(&str, &[u8])], size: u64, content: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        if !records.is_empty() {
            tar.append_pax_extensions(records.iter().copied()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_path("usr/a").unwrap();
        header.set_mode(0o644);
        header.set_size(size);
        header.as_mut_bytes()[156] = kind;
        // Of a sparse file: blocks with more of its map follow (GNU tar, "Storing Sparse Files").
        header.as_mut_bytes()[482] = u8::from(kind == b'S');
        header.set_cksum();
        tar.append(&header, content).unwrap();
        tar.into_inner().unwrap()
    }

    fn is_invalid_soon(what: &str, bytes: &[u8]) {
        let start = std::time::Instant::now();
        let error = read_all(bytes).expect_err(what);
        assert_eq!(error.kind(), bootwright_core::ErrorKind::InvalidInput, "{what}: {error}");
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{what} took {:?}", start.elapsed());
    }

    /// spec: BW-326
    #[test]
    fn headers_without_an_end_are_refused_before_they_are_read_to_the_end() {
        const LONG: usize = 8 << 20;
        let version: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")];
        is_invalid_soon("a map without a line", &one(b'0', &version, LONG as u64, &vec![b'1'; LONG]));
        // Each block says that another one follows, and holds nothing.
        let mut block = [0; 512];
        block[504] = 1;
        is_invalid_soon("a map of empty blocks", &one(b'S', &[], 0, &block.repeat(LONG / 512)));
    }

    #[test]
    fn a_size_that_no_number_can_be_rounded_up_from_is_refused() {
        let size = u64::MAX.to_string();
        is_invalid_soon("a size", &one(b'0', &[("size", size.as_bytes())], 0, b"x"));
    }

    proptest! {
        #[test]
        fn a_stream_with_any_bytes_changed_is_read_without_panic(
            changes in prop::collection::vec((0..6000_usize, any::<u8>()), 1..8),
            length in 0..8000_usize,
        ) {
            let mut bytes = sample();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(length);
            let _ = read_all(&bytes);
        }

        #[test]
        fn records_of_any_form_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check_pax(&data);
            let _ = check_global(&data);
        }
    }
}
