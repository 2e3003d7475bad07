//! Bringing an image into the repository.
//!
//! Each layer is read once: its blob is checked against the manifest while it is transferred, the stream that it unpacks to against the
//! configuration, and only then does the repository learn that it has this layer. The library does the rest: it splits the stream
//! into objects, and builds the EROFS image from the layers.

mod archive;
mod assemble;
mod gunzip;
mod layer;
mod layout;
mod progress;
mod registry;
mod source;
mod store;
mod unclean;

use std::sync::Arc;

use bootwright_core::{
    backend::FetchEstimate,
    context::BackendContext,
    error::Result,
    model::{ImageSummary, LayerSummary, PinnedImage, Progress},
};
use composefs::{fsverity::FsVerityHashValue, repository::Repository};
use composefs_oci::{OciDigest, layer_content_id};

use crate::errors::LibraryContext;

/// Objects, EROFS images and file system overhead, as a multiple of what is transferred: compressed layers unpack to two to three times
/// their size.
const STORE_PER_DOWNLOAD: u64 = 3;

/// What fetching would cost.
pub(crate) fn estimate<H: FsVerityHashValue>(
    repo: &Repository<H>,
    image: &ImageSummary,
) -> Result<FetchEstimate> {
    tally(image, |layer| has_layer(repo, layer.diff_id.as_str()))
}

/// The same before there is a repository: everything is missing.
pub(crate) fn estimate_without_store(image: &ImageSummary) -> Result<FetchEstimate> {
    tally(image, |_| Ok(false))
}

fn tally(image: &ImageSummary, is_there: impl Fn(&LayerSummary) -> Result<bool>) -> Result<FetchEstimate> {
    let mut estimate = FetchEstimate { layers: image.layers.len(), ..FetchEstimate::default() };
    for layer in &image.layers {
        if !is_there(layer)? {
            estimate.layers_missing += 1;
            estimate.download = estimate.download.saturating_add(layer.size);
        }
    }
    estimate.store = estimate.download.saturating_mul(STORE_PER_DOWNLOAD);
    Ok(estimate)
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
    let (events, mut arriving) = progress::channel();
    let work = async {
        // Moved in, so that the channel ends with the work.
        let events = events;
        store::store(context, repo, image, &events).await
    };
    let show = async {
        while let Some(event) = arriving.recv().await {
            progress.report(event);
        }
    };
    let (done, ()) = tokio::join!(work, show);
    done?;
    Ok(PinnedImage {
        reference: image.reference.clone(),
        manifest_digest: image.manifest_digest.clone(),
        version: image.version.clone(),
        created: image.created.clone(),
        architecture: image.architecture.clone(),
    })
}
