//! Where composed images are kept: a store of blobs named by digest, and folders named by the hash of their
//! recipe, so that what did not change is never built again.

use std::{
    fmt,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use flate2::Compression;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::host;

/// Called with one line of text for each step of a long composition.
type Progress = Box<dyn Fn(&str) + Send + Sync>;

/// A blob in a [`BlobStore`]: its sha256 in hex, and its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// sha256 of the bytes, 64 hex digits.
    pub sha256: String,
    /// Number of bytes.
    pub size: u64,
}

impl Blob {
    /// The digest as OCI documents write it: `sha256:<hex>`.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }
}

/// A folder of blobs, each named by its sha256. Blobs are complete when they appear, and never change.
#[derive(Debug, Clone)]
pub struct BlobStore {
    dir: PathBuf,
    compression: Compression,
}

impl BlobStore {
    /// Opens the store in `dir`, which is made if it is missing.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir, compression: Compression::new(6) })
    }

    /// The same, where layers that are written are gzip files with nothing compressed: for images that are read once, on this machine.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { compression: Compression::none(), ..self }
    }

    /// How much layers are compressed.
    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// Where the blob with this sha256 (hex) is, or would be.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join(sha256)
    }

    /// Whether the blob is here.
    pub fn holds(&self, blob: &Blob) -> bool {
        self.path(&blob.sha256).exists()
    }

    /// Stores bytes and returns their blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        self.keep(file, hex::encode(Sha256::digest(bytes)))
    }

    /// An unnamed blob to be filled and then given to [`BlobStore::keep`].
    pub(super) fn temporary(&self) -> Result<NamedTempFile> {
        NamedTempFile::new_in(&self.dir).with_context(|| format!("cannot write in {}", self.dir.display()))
    }

    /// Names a filled file by its digest, which the caller has computed.
    pub(super) fn keep(&self, file: NamedTempFile, sha256: String) -> Result<Blob> {
        let size = file.as_file().metadata()?.len();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.persist(self.path(&sha256))?;
        Ok(Blob { sha256, size })
    }

    /// Makes the blob appear under `to` as well: as a hard link, or as a copy on another file system.
    pub fn link(&self, sha256: &str, to: &Path) -> Result<()> {
        let from = self.path(sha256);
        if to.exists() || fs::hard_link(&from, to).is_ok() {
            return Ok(());
        }
        fs::copy(&from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }
}

/// The cache of composed images.
pub struct Cache {
    dir: PathBuf,
    blobs: BlobStore,
    progress: Progress,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Cache {
    /// The cache in `target/images` of this workspace.
    pub fn in_target_dir() -> Result<Self> {
        Self::open(host::target_dir().join("images"))
    }

    /// The cache in `dir`, which is made if it is missing.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let blobs = BlobStore::open(dir.join("blobs"))?;
        let dir = dir.canonicalize()?;
        Ok(Self { dir, blobs, progress: Box::new(|_| ()) })
    }

    /// Has `progress` called with a line of text for each step that takes a while.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// The blobs that all images of this cache share.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    pub(super) fn say(&self, line: &str) {
        (self.progress)(line);
    }

    /// The folder that holds it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until no other process builds `name`, and holds it until the returned file is dropped.
    pub(super) fn lock(&self, name: &str) -> Result<File> {
        let path = self.dir.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// The value that `name` stands for: read from the cache, or made by `build` and then remembered. A value
    /// for which `complete` is false, since somebody removed its blobs, is built again.
    ///
    /// Two processes that need the same value do not both build it. A build that fails, or is interrupted,
    /// leaves nothing behind that a later call would take for the value.
    pub(super) fn remembered<T>(
        &self,
        name: &str,
        complete: impl Fn(&T) -> bool,
        build: impl FnOnce() -> Result<T>,
    ) -> Result<T>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let _lock = self.lock(name)?;
        let path = self.dir.join(format!("{name}.json"));
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(value) = known.filter(complete) {
            return Ok(value);
        }
        let value = build()?;
        let mut file = NamedTempFile::new_in(&self.dir)?;
        serde_json::to_writer_pretty(&mut file, &value)?;
        file.persist(path)?;
        Ok(value)
    }
}

/// A hash over everything that a cached value depends on.
#[derive(Debug, Default, Clone)]
pub(super) struct Key(Sha256);

impl Key {
    /// Adds one input; its length goes in too, so that neighbours cannot run into each other.
    pub(super) fn add(mut self, input: impl AsRef<[u8]>) -> Self {
        self.0.update((input.as_ref().len() as u64).to_le_bytes());
        self.0.update(input.as_ref());
        self
    }

    /// The first 16 hex digits: enough to name a folder.
    pub(super) fn short(self) -> String {
        hex::encode(self.0.finalize()).chars().take(16).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn neighbouring_inputs_of_a_key_do_not_run_together() {
        let left = Key::default().add("ab").add("c").short();
        let right = Key::default().add("a").add("bc").short();
        assert_ne!(left, right);
    }

    #[test]
    fn a_remembered_value_is_built_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let builds = Cell::new(0);
        let build = || {
            builds.set(builds.get() + 1);
            Ok("value".to_owned())
        };
        assert_eq!(cache.remembered("x", |_| true, build).unwrap(), "value");
        assert_eq!(cache.remembered("x", |_| true, build).unwrap(), "value");
        assert_eq!(builds.get(), 1);
    }

    #[test]
    fn a_failed_build_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let failed: Result<String> = cache.remembered("x", |_| true, || anyhow::bail!("no"));
        assert!(failed.is_err());
        assert_eq!(cache.remembered("x", |_| true, || Ok(1)).unwrap(), 1);
    }

    #[test]
    fn a_value_whose_blobs_are_gone_is_built_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let build = |content: &'static [u8]| {
            cache.remembered("x", |b| cache.blobs().holds(b), || cache.blobs().put(content))
        };
        let first = build(b"one").unwrap();
        assert_eq!(build(b"two").unwrap(), first);
        fs::remove_file(cache.blobs().path(&first.sha256)).unwrap();
        assert_ne!(build(b"two").unwrap(), first);
    }

    #[test]
    fn a_blob_is_found_under_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let blob = store.put(b"hello").unwrap();
        assert_eq!(blob.size, 5);
        assert!(blob.sha256.starts_with("2cf24dba5fb0a30e26e8"));
        assert_eq!(fs::read(store.path(&blob.sha256)).unwrap(), b"hello");
    }
}
