//! Writes one layer: a tar, compressed with gzip, whose bytes depend on nothing but its entries.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

use super::{
    cache::{Blob, BlobStore},
    entry::{Entry, EntryKind, IMAGE_TIME, ordered},
};

/// A layer that was written: its compressed blob, and the sha256 (hex) of the tar inside, which an image's
/// configuration calls its diff id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The compressed tar.
    pub blob: Blob,
    /// sha256 of the uncompressed tar, 64 hex digits.
    pub diff_id: String,
}

/// Writes `entries` as one layer into `store`. Their order does not matter, missing parent folders are added.
///
/// # Errors
/// When a path leaves the image or is given twice, or a file of the host cannot be read.
pub fn write_layer(entries: Vec<Entry>, store: &BlobStore) -> Result<Layer> {
    let mut sink = LayerSink::new(store)?;
    for entry in ordered(entries)? {
        sink.entry(&entry)?;
    }
    sink.finish(store)
}

/// Writes a layer of these bytes, whatever they are.
pub fn write_tar(tar: &[u8], store: &BlobStore) -> Result<Layer> {
    let mut archive = begin(store, Compression::fast())?;
    archive.write_all(tar)?;
    keep(archive, store)
}

/// A tar archive on its way through gzip into a store.
type Archive = Hashing<GzEncoder<Hashing<NamedTempFile>>>;

/// No time and no name in the gzip header: both would make the digest depend on the build.
fn begin(store: &BlobStore, compression: Compression) -> Result<Archive> {
    Ok(Hashing::new(GzBuilder::new().mtime(0).write(Hashing::new(store.temporary()?), compression)))
}

fn keep(archive: Archive, store: &BlobStore) -> Result<Layer> {
    let (gzip, diff_id) = archive.finish();
    let (file, sha256) = gzip.finish()?.finish();
    Ok(Layer { blob: store.keep(file, sha256)?, diff_id })
}

/// A layer while it is being written, for callers that stream entries in an order of their own.
pub struct LayerSink {
    tar: Builder<Archive>,
}

impl std::fmt::Debug for LayerSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerSink").finish_non_exhaustive()
    }
}

impl LayerSink {
    /// Starts an empty layer.
    pub fn new(store: &BlobStore) -> Result<Self> {
        Ok(Self { tar: Builder::new(begin(store, store.compression())?) })
    }

    /// Adds one entry.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        let path = entry.stored_path();
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode());
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(IMAGE_TIME);
        self.append(header, &path, entry).with_context(|| format!("cannot add /{path} to a layer"))
    }

    fn append(&mut self, mut header: Header, path: &str, entry: &Entry) -> Result<()> {
        let (kind, size) = match entry.kind() {
            EntryKind::File(content) => {
                let (bytes, size) = content.open()?;
                header.set_size(size);
                header.set_entry_type(EntryType::Regular);
                self.tar.append_data(&mut header, path, bytes.take(size))?;
                return Ok(());
            }
            EntryKind::Directory => (EntryType::Directory, 0),
            EntryKind::Whiteout => (EntryType::Regular, 0),
            EntryKind::Symlink(target) => return self.link(header, EntryType::Symlink, path, target),
            EntryKind::Hardlink(target) => return self.link(header, EntryType::Link, path, target),
        };
        header.set_entry_type(kind);
        header.set_size(size);
        let path = if kind == EntryType::Directory { Cow::from(format!("{path}/")) } else { path.into() };
        Ok(self.tar.append_data(&mut header, path.as_ref(), io::empty())?)
    }

    fn link(&mut self, mut header: Header, kind: EntryType, path: &str, target: &str) -> Result<()> {
        header.set_entry_type(kind);
        header.set_size(0);
        Ok(self.tar.append_link(&mut header, path, target)?)
    }

    /// The tar below, for entries that are copied from another tar with their extended attributes.
    pub(super) fn tar(&mut self) -> &mut Builder<impl Write + use<>> {
        &mut self.tar
    }

    /// Completes the layer and names its blob.
    pub fn finish(self, store: &BlobStore) -> Result<Layer> {
        keep(self.tar.into_inner()?, store)
    }
}

/// Passes bytes on, and keeps the sha256 of them.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn finish(self) -> (W, String) {
        (self.inner, hex::encode(self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use flate2::read::GzDecoder;

    use super::*;

    fn names(store: &BlobStore, layer: &Layer) -> Vec<String> {
        let blob = File::open(store.path(&layer.blob.sha256)).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(blob));
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_digest_of_a_layer_does_not_depend_on_the_order_of_its_entries() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let a = || Entry::file("/etc/a", "1", 0o644);
        let b = || Entry::symlink("/etc/b", "a");
        let one = write_layer(vec![a(), b()], &store).unwrap();
        let two = write_layer(vec![b(), a()], &store).unwrap();
        assert_eq!(one, two);
        assert_eq!(names(&store, &one), ["etc/", "etc/a", "etc/b"]);
    }

    #[test]
    fn the_diff_id_is_the_hash_of_the_uncompressed_tar() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let layer = write_layer(vec![Entry::file("a", vec![7; 4096], 0o644)], &store).unwrap();
        let mut tar = Vec::new();
        GzDecoder::new(File::open(store.path(&layer.blob.sha256)).unwrap()).read_to_end(&mut tar).unwrap();
        assert_eq!(hex::encode(Sha256::digest(&tar)), layer.diff_id);
    }

    #[test]
    fn a_path_longer_than_a_tar_header_survives() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let long = format!("usr/{}/{}", "d".repeat(90), "f".repeat(90));
        let layer = write_layer(vec![Entry::file(&long, "1", 0o644)], &store).unwrap();
        assert!(names(&store, &layer).contains(&long));
    }

    #[test]
    fn a_missing_host_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let content = super::super::entry::Content::Host("/no/such/file".into());
        let entry = Entry::new("a", 0o644, EntryKind::File(content));
        let error = format!("{:#}", write_layer(vec![entry], &store).unwrap_err());
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
