//! Read-only views: a deployment's files, and the blobs that it boots with.

use std::{fmt::Debug, io::Read};

use async_trait::async_trait;

use crate::{error::Result, model::Blob};

/// A file opened for reading once, from start to end.
pub type Reader = Box<dyn Read + Send>;

/// The files of one deployment, without mounting it.
///
/// Paths are relative to the deployment's root, with `/` between names and no leading slash; symbolic links are followed
/// inside the tree and cannot leave it.
#[async_trait]
pub trait TreeReader: Debug + Send + Sync {
    /// Opens a regular file.
    ///
    /// # Behaviour
    /// - `None` if nothing is there, or if it is not a regular file.
    ///
    /// # Errors
    /// - `Integrity` if the content is known not to be what the image says.
    async fn open(&self, path: &str) -> Result<Option<Reader>>;

    /// Names in a folder, sorted.
    ///
    /// # Behaviour
    /// - Empty if the folder does not exist.
    async fn list(&self, path: &str) -> Result<Vec<String>>;
}

/// Text files that core reads out of deployments are configuration: larger ones are refused, not read.
const TEXT_LIMIT: u64 = 1 << 20;

/// Conveniences that nobody implements.
#[async_trait]
pub trait TreeReaderExt: TreeReader {
    /// The whole of a small text file, or `None` if it is not there. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// `InvalidInput` if it is larger than 1 MiB.
    async fn read_text(&self, path: &str) -> Result<Option<String>> {
        let Some(reader) = self.open(path).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        crate::error::IoContext::context_io(reader.take(TEXT_LIMIT + 1).read_to_end(&mut bytes), || {
            format!("read {path} of the deployment")
        })?;
        if bytes.len() as u64 > TEXT_LIMIT {
            return Err(crate::Error::invalid(format!("{path} in the image is larger than 1 MiB")));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl<T: TreeReader + ?Sized> TreeReaderExt for T {}

/// Where a bootloader gets the bytes of new entries from.
#[async_trait]
pub trait BlobSource: Debug + Send + Sync {
    /// Opens a blob of a deployment for reading.
    ///
    /// # Errors
    /// - `NotFound` if the store does not have it.
    async fn open_blob(&self, blob: &Blob) -> Result<Reader>;
}
