//! One entry of a layer: what it is, and where its content lies.

use std::{ffi::OsString, fs::File, io::Read, os::unix::fs::FileExt as _, sync::Arc};

use crate::{
    etc_merge::{Metadata, Special},
    tree::Reader,
};

/// Where the content of a file lies: so many bytes of a layer, unpacked. Two paths with the same span are hard links of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Which layer, from 0 for the lowest.
    pub layer: usize,
    /// Offset of the first byte in the layer's tar file.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Span {
    /// The content, from the layer's tar file.
    pub fn open(&self, layer: &Arc<File>) -> Reader {
        Box::new(Part { file: Arc::clone(layer), at: self.offset, left: self.size })
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File(Span),
    /// A symbolic link, with its target.
    Symlink(OsString),
    /// A device or a pipe.
    Special(Special),
}

/// What is at a path, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Mode, owner, attributes, time.
    pub metadata: Metadata,
}

impl Entry {
    /// A folder that no layer describes: one above something that is in a layer.
    pub(super) fn implied() -> Self {
        let metadata = Metadata { mtime: Some((0, 0)), ..Metadata::with_mode(0o755) };
        Self { kind: Kind::Directory, metadata }
    }
}

/// A part of a file that others read at the same time.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.at)?;
        if n == 0 && wanted > 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
