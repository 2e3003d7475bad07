//! Tar archives in which everything is written as it is, whatever it means.

use tar::{Builder, EntryType, Header};

use super::Hostile;

/// An archive under construction.
pub struct Tar(Builder<Vec<u8>>);

/// Where the type of an entry stands in a header, and in one of GNU's the sign that more of a sparse file's map follows.
const TYPE_AT: usize = 156;
const EXTENDED_AT: usize = 482;

impl Tar {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry; what does not fit into a header is cut off.
    pub fn raw(self, name: &[u8], kind: u8, link: &[u8], content: &[u8]) -> Self {
        self.append(named(Header::new_ustar(), name, kind, link), content)
    }

    /// An entry whose header says this size, whatever its content is.
    pub fn append(mut self, mut header: Header, content: &[u8]) -> Self {
        if header.size().is_ok_and(|size| size == 0) {
            header.set_size(content.len() as u64);
        }
        header.set_cksum();
        // Into memory: there is nothing that can fail.
        let _ = self.0.append(&header, content);
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(name.as_bytes(), b'0', b"", content)
    }

    /// A file with this mode.
    pub fn mode(self, name: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = named(Header::new_ustar(), name.as_bytes(), b'0', b"");
        header.set_mode(mode);
        self.append(header, content)
    }

    pub fn folder(self, name: &str) -> Self {
        self.raw(name.as_bytes(), b'5', b"", b"")
    }

    pub fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        self.raw(name.as_bytes(), kind.as_byte(), target.as_bytes(), b"")
    }

    /// A device with these numbers.
    pub fn device(self, name: &str, kind: EntryType, major: u32, minor: u32) -> Self {
        let mut header = named(Header::new_ustar(), name.as_bytes(), kind.as_byte(), b"");
        let _ = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
        self.append(header, b"")
    }

    /// A record for the entry that follows.
    pub fn pax(self, key: &str, value: &[u8]) -> Self {
        self.pax_all(&[(key, value)])
    }

    /// Records for the entry that follows.
    pub fn pax_all(mut self, records: &[(&str, &[u8])]) -> Self {
        let _ = self.0.append_pax_extensions(records.iter().copied());
        self
    }

    /// An extended attribute of the entry that follows.
    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Bytes in the place of records.
    pub fn records(self, bytes: &[u8]) -> Self {
        self.raw(b"records", b'x', b"", bytes)
    }

    /// A sparse file in GNU's old form, whose map goes on in these blocks.
    pub fn sparse(self, name: &str, map: &[u8]) -> Self {
        let mut header = named(Header::new_gnu(), name.as_bytes(), b'S', b"");
        header.as_mut_bytes()[EXTENDED_AT] = u8::from(!map.is_empty());
        let mut tar = self.append(header, b"");
        // They are no content: no size counts them.
        tar.0.get_mut().extend_from_slice(map);
        tar
    }

    pub fn is(self, what: &'static str) -> Hostile {
        Hostile { what, tar: self.0.into_inner().unwrap_or_default() }
    }
}

fn named(mut header: Header, name: &[u8], kind: u8, link: &[u8]) -> Header {
    header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    let bytes = header.as_mut_bytes();
    for (at, byte) in (0..100).zip(name).chain((157..257).zip(link)) {
        bytes[at] = *byte;
    }
    bytes[TYPE_AT] = kind;
    header
}
