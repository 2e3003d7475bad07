//! The bytes of an image's layers, from wherever the image is: read once, checked, unpacked, and passed on as one stream each.
//!
//! What a store does with the stream is its own affair. Everything before that is the same for all of them and stands here.
//!
//! ```text
//! folder | archive | skopeo  ->  blob digest, size  ->  gunzip | zstd  ->  diff id  ->  pieces in a channel
//! ```
//!
//! A stream ends without an error only if the blob is what the manifest says and unpacks to what the configuration says.

mod archive;
mod documents;
mod gunzip;
mod layer;
mod layout;
mod progress;
mod registry;
mod source;

pub use documents::Documents;
pub use layer::{LayerSpec, Sender, Unpacked, stream};
pub use progress::{Events, LayerProgress, channel, follow};
pub use source::Source;

use crate::{
    backend::FetchEstimate,
    error::Result,
    model::{ImageSummary, LayerSummary},
};

/// Unpacks a blob that is in memory, for fuzz targets.
///
/// # Errors
/// As a layer's reader reports them.
#[cfg(feature = "fuzzing")]
pub fn unpack(blob: &[u8], spec: &LayerSpec, progress: LayerProgress, sender: &Sender) -> Result<()> {
    layer::unpack(blob, spec, layer::Shortage::Truncated, progress, sender).map(drop)
}

/// Objects, metadata and file system overhead, as a multiple of what is transferred: compressed layers unpack to two to three times
/// their size.
const STORE_PER_DOWNLOAD: u64 = 3;

/// What fetching an image would cost, given which of its layers a store has.
///
/// # Errors
/// Those of `is_there`.
pub fn estimate(
    image: &ImageSummary,
    is_there: impl Fn(&LayerSummary) -> Result<bool>,
) -> Result<FetchEstimate> {
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
