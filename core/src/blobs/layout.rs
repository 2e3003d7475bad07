//! OCI layouts in a folder (OCI image specification, "Image Layout").

use std::{fs::File, path::PathBuf};

use crate::{
    error::{Error, IoContext, Result},
    model::Digest,
};

/// Where a blob lies inside a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    let (algorithm, hex) = digest.as_str().split_once(':').unwrap_or_default();
    format!("blobs/{algorithm}/{hex}")
}

/// What to say of a blob that is not there.
pub(super) fn missing(digest: &Digest, place: &str) -> Error {
    Error::invalid(format!("{place} lacks the blob {digest}"))
        .with_hint("the image was not copied completely: copy it again")
}

/// A layout folder.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The layout at this path. Nothing is read yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// `InvalidInput` if the layout lacks it.
    pub fn blob(&self, digest: &Digest) -> Result<File> {
        let path = self.folder.join(blob_path(digest));
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(missing(digest, &self.folder.display().to_string()))
            }
            opened => opened.context_io(|| format!("open {}", path.display())),
        }
    }
}
