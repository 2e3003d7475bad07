//! Fetches that a power cut ended, in repositories without fs-verity.
//!
//! The library writes objects without syncing each of them, and takes one that exists for whole. With fs-verity that is safe: sealing
//! writes the content out first. Without it, a cut can leave names of objects whose content never reached the disk, and the next
//! fetch would build on them. So a mark stands beside such a repository while it is written to; whoever finds the mark checks all
//! objects first, and removes those that are not what their name says.

use bootwright_core::{
    blobs::Events,
    context::BackendContext,
    error::Result,
    fs::{ReplaceStyle, Root},
};
use composefs::{
    fsverity::FsVerityHashValue,
    repository::{FsckError, Repository},
};

use crate::errors::LibraryContext;

const MARK: &str = "composefs/bootwright-unfinished";

/// Before the first object is written.
pub(super) async fn begin<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    events: &Events,
) -> Result<()> {
    if !repo.is_insecure() {
        return Ok(());
    }
    if context.sysroot.exists(MARK) {
        events.message("an earlier fetch was cut off: checking what it left");
        remove_damaged(&context.sysroot, repo).await?;
        return Ok(());
    }
    context.sysroot.replace(MARK, b"", ReplaceStyle::Durable)
}

/// After everything is on the disk.
pub(super) fn end(context: &BackendContext) -> Result<()> {
    context.sysroot.remove_file(MARK).map(drop)
}

async fn remove_damaged<H: FsVerityHashValue>(sysroot: &Root, repo: &Repository<H>) -> Result<()> {
    let found = repo.fsck().await.context(|| "check what an earlier fetch left".to_owned())?;
    for error in found.errors() {
        if let FsckError::ObjectDigestMismatch { path, .. } = error {
            tracing::info!("removing {path}, which was not written completely");
            sysroot.remove_file(&format!("{}/{path}", crate::repo::REPOSITORY))?;
        }
    }
    sysroot.sync_filesystem()
}
