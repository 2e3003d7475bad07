//! Bringing an image into the repository.
//!
//! Each layer is read once: its blob is checked against the manifest while it is transferred, the stream that it unpacks to against the
//! configuration, and only then does the repository learn that it has this layer. The library does the rest: it splits the stream
//! into objects, and builds the EROFS image from the layers.

mod assemble;
mod scan;
mod store;
mod unclean;

use std::sync::Arc;

use bootwright_core::{
    backend::FetchEstimate,
    blobs,
    context::BackendContext,
    error::Result,
    model::{ImageSummary, PinnedImage, Progress},
};
use composefs::{fsverity::FsVerityHashValue, repository::Repository};
use composefs_oci::{OciDigest, layer_content_id};

use crate::errors::LibraryContext;

/// What fetching would cost.
pub(crate) fn estimate<H: FsVerityHashValue>(
    repo: &Repository<H>,
    image: &ImageSummary,
) -> Result<FetchEstimate> {
    blobs::estimate(image, |layer| has_layer(repo, layer.diff_id.as_str()))
}

/// The same before there is a repository: everything is missing.
pub(crate) fn estimate_without_store(image: &ImageSummary) -> Result<FetchEstimate> {
    blobs::estimate(image, |_| Ok(false))
}

/// Whether the repository has a layer, whole.
fn has_layer<H: FsVerityHashValue>(repo: &Repository<H>, diff_id: &str) -> Result<bool> {
    let diff_id: OciDigest = diff_id.parse().context(|| format!("look up layer {diff_id}"))?;
    let found =
        repo.has_stream(&layer_content_id(&diff_id)).context(|| format!("look up layer {diff_id}"))?;
    Ok(found.is_some())
}

/// Fetches an image; see `StorageBackend::fetch`.
pub(crate) async fn fetch<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    image: &ImageSummary,
    progress: &dyn Progress,
) -> Result<PinnedImage> {
    blobs::follow(progress, async |events| store::store(context, repo, image, events).await).await?;
    Ok(PinnedImage::from(image))
}
