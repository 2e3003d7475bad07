//! OCI layouts in a tar file, read in place.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, IoContext, Result},
    model::Digest,
};

use super::layout::{blob_path, missing};

/// The magic of a tar header and where it stands in it (POSIX.1-2017, pax, "ustar Interchange Format").
const MAGIC: &[u8; 5] = b"ustar";
const MAGIC_AT: u64 = 257;

/// An uncompressed layout archive.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: Arc<File>,
    /// Offset and length of each file in it.
    files: HashMap<String, (u64, u64)>,
}

/// Whether the file at `path` is a tar that is not compressed, and so can be read in place.
pub(super) fn is_plain(path: &Path) -> Result<bool> {
    let file = File::open(path).context_io(|| format!("open {}", path.display()))?;
    let mut magic = [0; MAGIC.len()];
    Ok(file.read_exact_at(&mut magic, MAGIC_AT).is_ok() && &magic == MAGIC)
}

impl Archive {
    /// Reads the list of files in the archive.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a whole tar file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context_io(|| format!("open {}", path.display()))?;
        let files = index(&file).map_err(|error| {
            Error::invalid(format!("{} is not a whole tar file", path.display()))
                .with_hint("the image was not copied completely: copy it again")
                .with_source(error)
        })?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), files })
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// `InvalidInput` if the archive lacks it.
    pub fn blob(&self, digest: &Digest) -> Result<Part> {
        let found = self.files.get(&blob_path(digest)).copied();
        let (at, size) = found.ok_or_else(|| missing(digest, &self.path.display().to_string()))?;
        Ok(Part { file: Arc::clone(&self.file), at, end: at.saturating_add(size) })
    }
}

fn index(file: &File) -> std::io::Result<HashMap<String, (u64, u64)>> {
    let mut files = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        files.insert(path, (entry.raw_file_position(), entry.size()));
    }
    Ok(files)
}

/// A piece of a file, read without moving the file's own position.
#[derive(Debug)]
pub(super) struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let n = self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
