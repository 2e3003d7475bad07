//! Bringing an image into the repository.
//!
//! Each layer is read once, whatever transport it comes by, and becomes a commit of its own that an image fetched later can use. The
//! layers are then merged in memory, and the result is the commit that gets deployed. Nothing is ever unpacked into a folder: content
//! goes from the stream into libostree, which gives every object its name by its checksum.
//!
//! ```text
//! bootwright/layer/<diff id>          a layer: list of its entries, and their content
//! bootwright/image/<manifest digest>  an image: the merged tree
//! ```
//!
//! Images that carry an `OSTree` commit unpack in the same way; see [`encapsulated`].
//!
//! # Crash
//! Names are set when what they stand for is on the disk. Before that, objects lie in a folder of the transaction, which libostree removes
//! after the next boot, or in place but without a name, where the next fetch uses them and a clean-up removes them.

mod commit;
mod convert;
mod encapsulated;
mod entry;
mod layer;
mod listing;
mod objects;
mod path;
mod refs;
mod tar;
mod tree;

use bootwright_core::{
    backend::FetchEstimate,
    blobs::{self, Documents, Events, LayerSpec, Source},
    error::{Error, Result},
    model::{Digest, ImageSummary, PinnedImage, Progress},
};
use ostree_ext::{
    gio::{self, prelude::CancellableExt as _},
    ostree,
};
use tokio::sync::oneshot;

pub(crate) use self::refs::retain;
use crate::repo::Store;

/// What fetching an image would cost. Before there is a repository, everything is missing. Blocks.
pub(crate) fn estimate(store: &Store, image: &ImageSummary) -> Result<FetchEstimate> {
    if !store.exists() {
        return blobs::estimate(image, |_| Ok(false));
    }
    let repo = store.open()?;
    let whole = image_commit(&repo, &image.manifest_digest)?.is_some();
    blobs::estimate(image, |layer| Ok(whole || refs::commit(&repo, &refs::layer(&layer.diff_id))?.is_some()))
}

/// The commit of a fetched image, in hex.
pub(crate) fn image_commit(repo: &ostree::Repo, manifest: &Digest) -> Result<Option<String>> {
    refs::commit(repo, &refs::image(manifest))
}

/// Fetches an image; see `StorageBackend::fetch`.
pub(crate) async fn fetch(
    store: &Store,
    image: &ImageSummary,
    progress: &dyn Progress,
) -> Result<PinnedImage> {
    let fetch = Fetch { store, cancel: Cancel::default() };
    blobs::follow(progress, async |events| fetch.image(image, events).await).await?;
    Ok(PinnedImage::from(image))
}

/// Stops what libostree does in other threads when nobody waits for it any more.
#[derive(Debug, Default)]
struct Cancel(gio::Cancellable);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

struct Fetch<'a> {
    store: &'a Store,
    cancel: Cancel,
}

impl Fetch<'_> {
    async fn image(&self, image: &ImageSummary, events: &Events) -> Result<()> {
        let manifest = image.manifest_digest.clone();
        if self.blocking(move |store, _| image_commit(&store.open()?, &manifest)).await?.is_some() {
            image.layers.iter().for_each(|layer| events.skipped(layer.digest.as_str()));
            return Ok(());
        }
        let source = Source::open(image).await?;
        let documents = Documents::read(&source, &image.manifest_digest).await?;
        for (index, spec) in documents.layers.iter().enumerate() {
            self.layer(&source, index, spec, events).await?;
        }
        events.message("writing the image's tree");
        let image = image.clone();
        let layers: Vec<_> = documents.layers.iter().map(|spec| refs::layer(&spec.diff_id)).collect();
        self.blocking(move |store, cancellable| commit::assemble(store, &image, &layers, cancellable)).await
    }

    async fn layer(&self, source: &Source, index: usize, spec: &LayerSpec, events: &Events) -> Result<()> {
        let name = refs::layer(&spec.diff_id);
        if self.blocking(move |store, _| refs::commit(&store.open()?, &name)).await?.is_some() {
            events.skipped(spec.digest.as_str());
            return Ok(());
        }
        let progress = events.layer(spec.digest.as_str(), spec.size.unwrap_or_default());
        let (sender, stream) = blobs::stream();
        let (approve, verdict) = oneshot::channel();
        let reading = async {
            let progress = source.layer(index, spec.clone(), progress, sender).await?;
            // Nobody listens if the import has failed, which then says why.
            let _ = approve.send(());
            Ok::<_, Error>(progress)
        };
        let importing = {
            let spec = spec.clone();
            self.blocking(move |store, cancellable| layer::import(store, &spec, stream, verdict, cancellable))
        };
        let (read, imported) = tokio::join!(reading, importing);
        let progress = read?;
        imported?;
        progress.finish();
        Ok(())
    }

    /// Runs what blocks on a thread of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &gio::Cancellable) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (store, cancellable) = (self.store.clone(), self.cancel.0.clone());
        let done = tokio::task::spawn_blocking(move || work(&store, &cancellable)).await;
        done.map_err(|error| Error::internal("a thread that imports an image stopped").with_source(error))?
    }
}
