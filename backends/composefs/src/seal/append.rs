//! The first half of sealing: tree and descriptor behind the data of each file, on the mounted file system.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicUsize, Ordering};

use bootwright_core::error::{Effect, Error, IoContext, Result};
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};

use super::descriptor::{Metadata, data_size_from};
use super::finish::Sealing;
use super::merkle::{Algorithm, BLOCK_SIZE, Hasher};

/// `EXT4_EXTENTS_FL`: the kernel finds the descriptor through the last extent, so the file must have extents.
const EXTENTS_FLAG: u32 = 0x0008_0000;
/// `EXT4_VERITY_FL`, in the inode on disk.
pub(super) const VERITY_FLAG: u32 = 0x0010_0000;
const READ_SIZE: usize = 1 << 20;
const METADATA_FILE: &str = "meta.json";

/// A file whose metadata is written, and what its inode must say for the kernel to enforce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFile {
    /// Inode number.
    pub inode: u64,
    /// Size of the data in bytes: what the inode's size has to become.
    pub size: u64,
    /// The inode's flags (`FS_IOC_GETFLAGS`) as they are now.
    pub(super) flags: u32,
}

/// Writes the metadata of fs-verity behind the data of `file`, which must be open for reading and writing.
///
/// `expected` is the file's fs-verity digest, where it is known. A file to which the metadata has been appended already is
/// recognised, and left as it is. After the call the file's size is wrong, until [`Sealing::finish`].
///
/// # Errors
/// `Integrity` if the file's digest is not `expected` (nothing is written then); `Unsupported` if the file has no extents;
/// I/O errors.
pub fn append_merkle(file: &File, algorithm: Algorithm, expected: Option<&[u8]>) -> Result<SealedFile> {
    let metadata = file.metadata().context_io(|| "read the size of a file".into())?;
    let flags = rustix::fs::ioctl_getflags(file).context_io(|| "read the flags of a file".into())?.bits();
    if flags & EXTENTS_FLAG == 0 {
        return Err(Error::unsupported("a file of the repository is not stored in extents")
            .with_hint("make the file system with `mkfs.ext4 -O extent,verity`"));
    }
    let sealed = |size| SealedFile { inode: metadata.ino(), size, flags };
    if let Some(size) = appended_data_size(file, algorithm, metadata.len(), expected)? {
        return Ok(sealed(size));
    }
    let computed = compute(file, algorithm, metadata.len())?;
    if expected.is_some_and(|digest| digest != computed.digest) {
        return Err(Error::integrity("the content of an object does not match its name")
            .with_context("fs-verity digest", hex::encode(&computed.digest)));
    }
    file.write_all_at(&computed.bytes, computed.position)
        .context_io(|| "append the fs-verity metadata".into())
        .map_err(|e| e.with_effect(Effect::Partial))?;
    Ok(sealed(metadata.len()))
}

/// The size of the data, if all metadata stands behind it already: an earlier run was interrupted.
fn appended_data_size(
    file: &File,
    algorithm: Algorithm,
    file_size: u64,
    expected: Option<&[u8]>,
) -> Result<Option<u64>> {
    let Some(last_block_at) = file_size.checked_sub(BLOCK_SIZE as u64) else { return Ok(None) };
    let mut last_block = [0; BLOCK_SIZE];
    file.read_exact_at(&mut last_block, last_block_at).context_io(|| "read the end of an object".into())?;
    let Some(size) = data_size_from(algorithm, &last_block, file_size) else { return Ok(None) };
    let computed = compute(file, algorithm, size)?;
    if expected.is_some_and(|digest| digest != computed.digest) {
        return Ok(None);
    }
    let mut found = vec![0; computed.bytes.len()];
    file.read_exact_at(&mut found, computed.position).context_io(|| "read the fs-verity metadata".into())?;
    Ok((found == computed.bytes).then_some(size))
}

fn compute(file: &File, algorithm: Algorithm, size: u64) -> Result<Metadata> {
    let mut hasher = Hasher::new(algorithm, size);
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(READ_SIZE).min(READ_SIZE)];
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(READ_SIZE).min(READ_SIZE);
        let Some(part) = buffer.get_mut(..want) else { break };
        file.read_exact_at(part, at).context_io(|| "read an object".into())?;
        hasher.update(part);
        at += want as u64;
    }
    Ok(Metadata::new(algorithm, hasher, size))
}

/// Appends the metadata to every object of a composefs repository, and to its `meta.json` (a repository counts as secure
/// only if that file is sealed as well). Objects are checked against their names while they are read.
///
/// Uses all processors. Ends with a sync of the file system. Files that are sealed already are skipped, so it may be
/// called again after an interruption.
///
/// # Errors
/// `Integrity` if an object is not what its name says; `NotFound` without `meta.json`; `Unsupported` as
/// [`append_merkle`]; I/O errors. Objects done by then keep their metadata (`Effect::Partial`).
pub fn append_repository(repository: &Dir, algorithm: Algorithm) -> Result<Sealing> {
    append_all(&Repository { folder: repository, algorithm }).map_err(|e| e.with_effect(Effect::Partial))
}

fn append_all(repository: &Repository<'_>) -> Result<Sealing> {
    let mut files = Vec::from_iter(repository.append(METADATA_FILE, None)?);
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| repository.append_from(&next))).collect();
        for handle in handles {
            let done = handle.join().map_err(|_| Error::internal("a sealing thread panicked"))?;
            files.extend(done?);
        }
        Ok(())
    })?;
    sync(repository.folder)?;
    Ok(Sealing::new(files))
}

/// Writes out the whole file system, so that an error shows here and not, unseen, at the unmount.
fn sync(folder: &Dir) -> Result<()> {
    // A `Dir` is an O_PATH handle, which syncfs(2) does not take.
    rustix::fs::openat(folder, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::syncfs)
        .context_io(|| "write the sealed objects to the disk".into())
}

/// A repository whose files are to be sealed.
struct Repository<'a> {
    folder: &'a Dir,
    algorithm: Algorithm,
}

impl Repository<'_> {
    /// One worker: takes folders of objects, by their first byte, until none is left, or one fails.
    fn append_from(&self, next: &AtomicUsize) -> Result<Vec<SealedFile>> {
        let mut done = Vec::new();
        while let Ok(first) = u8::try_from(next.fetch_add(1, Ordering::Relaxed)) {
            let sealed = self.append_folder(first).inspect_err(|_| {
                // The others need not go on.
                next.store(usize::from(u8::MAX) + 1, Ordering::Relaxed);
            })?;
            done.extend(sealed);
        }
        Ok(done)
    }

    /// Seals the objects whose digest begins with this byte.
    fn append_folder(&self, first: u8) -> Result<Vec<SealedFile>> {
        let folder = format!("objects/{first:02x}");
        let entries = match self.folder.read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(format!("list {folder}"), e)),
        };
        let mut done = Vec::new();
        for entry in entries {
            let name = entry.context_io(|| format!("list {folder}"))?.file_name();
            // What is not named by a digest is an unfinished download, which nothing refers to.
            let digest = name.to_str().and_then(|name| object_digest(self.algorithm, first, name));
            if let Some(digest) = digest {
                done.extend(self.append(&format!("{folder}/{}", name.display()), Some(&digest))?);
            }
        }
        Ok(done)
    }

    /// Seals one file, unless it is sealed.
    fn append(&self, path: &str, digest: Option<&[u8]>) -> Result<Option<SealedFile>> {
        self.append_unsealed(path, digest).map_err(|e| e.with_context("file", path))
    }

    fn append_unsealed(&self, path: &str, digest: Option<&[u8]>) -> Result<Option<SealedFile>> {
        // A kernel without fs-verity refuses to open such a file, but tells of it.
        let stat = rustix::fs::statx(self.folder, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
            .context_io(|| "look at a file of the repository".into())?;
        if stat.stx_attributes.contains(StatxAttributes::VERITY) {
            return Ok(None);
        }
        let file = self
            .folder
            .open_with(path, OpenOptions::new().read(true).write(true))
            .context_io(|| "open a file of the repository for writing".into())?;
        append_merkle(&file.into_std(), self.algorithm, digest).map(Some)
    }
}

fn object_digest(algorithm: Algorithm, first: u8, rest: &str) -> Option<Vec<u8>> {
    let mut digest = vec![first];
    digest.extend(hex::decode(rest).ok()?);
    (digest.len() == algorithm.digest_len()).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_right_length_are_objects() {
        assert!(object_digest(Algorithm::Sha256, 0xab, &"0".repeat(62)).is_some());
        assert!(object_digest(Algorithm::Sha256, 0xab, &"0".repeat(126)).is_none());
        assert!(object_digest(Algorithm::Sha256, 0xab, ".tmp-x").is_none());
    }
}
