//! Copies whose content is known to have arrived.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    fs::{ReplaceStyle, Root},
    model::{Blob, Digest},
    tree::{BlobSource, Reader},
};

/// What [`place`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// SHA-256 of the content that is there now.
    pub digest: Digest,
    /// Whether anything was written; if not, the same content was there before.
    pub written: bool,
}

/// Copies a blob to `path`, unless the same content is there already.
///
/// # Errors
/// `Integrity` if the store gives other bytes than the blob's digest says, or if the disk gives other bytes back than were
/// written; `NoSpace` and `Io` as the system says. In each case `path` has not changed, and no temporary file is left.
///
/// # Crash
/// `path` has its old content, or durably the new one; perhaps a temporary file is left beside it.
pub async fn place_blob(root: &Root, path: &str, blob: &Blob, blobs: &dyn BlobSource) -> Result<Placed> {
    if root.size_of(path)? == Some(blob.size) && root.sha256_of(path)?.as_ref() == Some(&blob.sha256) {
        return Ok(Placed { digest: blob.sha256.clone(), written: false });
    }
    let mut reader = Checked::new(blobs.open_blob(blob).await?, blob);
    let digest = place(root, path, &mut reader)?;
    Ok(Placed { digest, written: true })
}

/// Writes all of `content` to a temporary file, reads it back from the disk, and renames it to `path`, durably. Returns its digest.
///
/// # Errors
/// As [`place_blob`].
pub fn place(root: &Root, path: &str, content: &mut dyn Read) -> Result<Digest> {
    let (temporary, digest) = root.copy_to_temporary(path, content)?;
    let moved = read_back(root, &temporary, &digest)
        .and_then(|()| root.move_into_place(&temporary, path, ReplaceStyle::Durable));
    if moved.is_err() {
        let _ = root.remove_file(&temporary);
    }
    moved.map(|()| digest)
}

/// Like [`place`], for a file whose name depends on its content: `draft` says where the temporary file goes, `name` makes the path.
/// Returns that path, and whether something was written there.
///
/// # Errors
/// As [`place_blob`].
pub fn place_named(
    root: &Root,
    draft: &str,
    content: &mut dyn Read,
    name: impl FnOnce(&Digest) -> String,
) -> Result<(String, Placed)> {
    let (temporary, digest) = root.copy_to_temporary(draft, content)?;
    let path = name(&digest);
    let moved = read_back(root, &temporary, &digest).and_then(|()| {
        let present = root.sha256_of(&path)?.as_ref() == Some(&digest);
        if !present {
            root.move_into_place(&temporary, &path, ReplaceStyle::Durable)?;
        }
        Ok(!present)
    });
    if !matches!(moved, Ok(true)) {
        let _ = root.remove_file(&temporary);
    }
    Ok((path, Placed { digest, written: moved? }))
}

/// Compares a file with the digest of what was written to it; from the disk, as far as the kernel lets its cache go.
///
/// # Errors
/// `Integrity` if they differ.
pub fn read_back(root: &Root, path: &str, digest: &Digest) -> Result<()> {
    if let Some(file) = root.open_file(path)? {
        // Advice only: a file system that keeps the pages makes the check weaker, not wrong.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
    if root.sha256_of(path)?.as_ref() == Some(digest) {
        return Ok(());
    }
    Err(Error::integrity(format!("{} does not read back as it was written", root.show(path)))
        .with_hint("the disk may be failing; check the kernel log"))
}

/// Reads a blob and fails at its end if the bytes were not those that its size and digest promise.
#[derive(Debug)]
pub struct Checked<R = Reader> {
    inner: R,
    hash: Option<Sha256>,
    left: u64,
    expected: Blob,
}

impl<R> Checked<R> {
    /// Wraps the reader of `blob`.
    pub fn new(inner: R, blob: &Blob) -> Self {
        Self { inner, hash: Some(Sha256::new()), left: blob.size, expected: blob.clone() }
    }

    fn finish(&mut self) -> std::io::Result<usize> {
        let Some(hash) = self.hash.take() else { return Ok(0) };
        let found = Digest::from_sha256(hash.finalize().into());
        if found == self.expected.sha256 && self.left == 0 { Ok(0) } else { Err(self.mismatch()) }
    }

    fn mismatch(&self) -> std::io::Error {
        let what = format!("{} in the store is not {}", self.expected.key, self.expected.sha256);
        std::io::Error::new(std::io::ErrorKind::InvalidData, Error::integrity(what))
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buffer)?;
        if n == 0 {
            return self.finish();
        }
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| self.mismatch())?;
        if let Some(hash) = &mut self.hash {
            hash.update(buffer.get(..n).unwrap_or_default());
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{ErrorKind, fs::Faults};

    #[derive(Debug)]
    struct Memory(&'static [u8]);

    #[async_trait]
    impl BlobSource for Memory {
        async fn open_blob(&self, _: &Blob) -> Result<Reader> {
            Ok(Box::new(self.0))
        }
    }

    fn blob(content: &[u8]) -> Blob {
        let sha256 = Digest::of(content);
        Blob { key: "k".into(), size: content.len() as u64, sha256 }
    }

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        (folder, root)
    }

    #[tokio::test]
    async fn equal_content_is_not_written_twice_and_damaged_content_is_repaired() {
        let (_folder, root) = root();
        let wanted = blob(b"kernel");
        assert!(place_blob(&root, "a/k", &wanted, &Memory(b"kernel")).await.unwrap().written);
        assert!(!place_blob(&root, "a/k", &wanted, &Memory(b"kernel")).await.unwrap().written);
        root.replace("a/k", b"kErnel", ReplaceStyle::Relaxed).unwrap();
        assert!(place_blob(&root, "a/k", &wanted, &Memory(b"kernel")).await.unwrap().written);
        assert_eq!(root.read("a/k").unwrap().unwrap(), b"kernel");
    }

    #[tokio::test]
    async fn other_bytes_than_promised_are_an_integrity_error_and_leave_nothing() {
        for wrong in [&b"kernel"[..1], b"kErnel", b"kernel and more"] {
            let (_folder, root) = root();
            let error = place_blob(&root, "k", &blob(b"kernel"), &Memory(wrong)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
            assert!(root.list(".").unwrap().is_empty());
        }
    }
}
