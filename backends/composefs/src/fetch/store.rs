//! From blobs to a complete image in the repository.
//!
//! Order matters after a crash: layers, then what is assembled from them, the manifest last, and then the name that keeps all of it.
//! The library syncs before each of them becomes visible. So a manifest that is there stands for a whole image.

use std::{collections::HashMap, sync::Arc};

use bootwright_core::{
    blobs::{self, Documents, Events, LayerSpec, Source},
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    model::{Digest, ImageSummary},
};
use composefs::{fsverity::FsVerityHashValue, generic_tree::OciTransformOptions, repository::Repository};
use composefs_oci::{OciDigest, import_layer, oci_image::manifest_identifier};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    assemble::{Layers, assemble},
    has_layer,
    scan::Scanned,
    unclean,
};
use crate::{
    deploy::refs,
    errors::{self, LibraryContext},
};

/// Layers in flight: one thread unpacks each, so more of them than processors only costs memory.
const MOST_AT_ONCE: usize = 4;

/// Stores an image and names it, so that it survives until the next clean-up.
pub(crate) async fn store<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    image: &ImageSummary,
    events: &Events,
) -> Result<()> {
    let name = refs::fetched(&image.manifest_digest);
    let stored = if let Some(stored) = stored_already(repo, &image.manifest_digest)? {
        image.layers.iter().for_each(|layer| events.skipped(layer.digest.as_str()));
        stored
    } else {
        unclean::begin(context, repo, events).await?;
        transfer(context, repo, image, events).await?
    };
    events.message("writing the root image");
    let repo = Arc::clone(repo);
    let context = context.clone();
    let finish = tokio::task::spawn_blocking(move || finish(&context, &repo, &stored, &name));
    finish.await.map_err(|error| errors::task("name the image", error))?
}

/// The stored digest of the manifest, if all of the image is in the repository.
fn stored_already<H: FsVerityHashValue>(
    repo: &Repository<H>,
    manifest: &Digest,
) -> Result<Option<OciDigest>> {
    match refs::open(repo, manifest, None) {
        Ok(image) => return Ok(Some(image.manifest_digest().clone())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nothing keeps it, but it may still be there from an earlier attempt.
    let digest: OciDigest = manifest.as_str().parse().context(|| format!("look up {manifest}"))?;
    let found = repo.has_stream(&manifest_identifier(&digest)).context(|| format!("look up {manifest}"))?;
    Ok(found.map(|_| digest))
}

async fn transfer<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    image: &ImageSummary,
    events: &Events,
) -> Result<OciDigest> {
    let source = Source::open(image).await?;
    let documents = Documents::read(&source, &image.manifest_digest).await?;
    let layers = import_all(context, repo, &source, &documents.layers, events).await?;
    let (repo, context) = (Arc::clone(repo), context.clone());
    let written = tokio::task::spawn_blocking(move || assemble(&context, &repo, &documents, &layers)).await;
    written.map_err(|error| errors::task("write the root image", error))?
}

async fn import_all<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    source: &Source,
    specs: &[LayerSpec],
    events: &Events,
) -> Result<Layers<H>> {
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_AT_ONCE);
    let permits = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    // The largest first: they take longest. A layer may occur twice (the empty one often does).
    let mut order: Vec<_> = specs.iter().enumerate().collect();
    order.sort_by_key(|(_, spec)| (std::cmp::Reverse(spec.size), spec.diff_id.clone()));
    order.dedup_by(|(_, a), (_, b)| a.diff_id == b.diff_id);
    for (index, spec) in order {
        let job = Job {
            context: context.clone(),
            repo: Arc::clone(repo),
            source: source.clone(),
            events: events.clone(),
        };
        let (permits, spec) = (Arc::clone(&permits), spec.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            job.import(index, spec).await
        });
    }
    let imported = finish_all(tasks).await?;
    let in_order = |spec: &LayerSpec| {
        let id = imported.get(&spec.diff_id).cloned();
        id.map(|id| (spec.diff_id.to_string(), id)).ok_or_else(|| Error::internal("a layer was not imported"))
    };
    specs.iter().map(in_order).collect()
}

/// Collects what the tasks have imported. When one transfer stops, the others go on, so that the next run finds more; any other
/// failure ends them all.
async fn finish_all<H: FsVerityHashValue>(
    mut tasks: JoinSet<Result<(Digest, H)>>,
) -> Result<HashMap<Digest, H>> {
    let mut imported = HashMap::new();
    let mut interrupted = None;
    while let Some(done) = tasks.join_next().await {
        let done = done.map_err(|error| errors::task("import a layer", error))?;
        match done {
            Ok((diff_id, id)) => drop(imported.insert(diff_id, id)),
            Err(error) if error.kind() == ErrorKind::Interrupted => interrupted = interrupted.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    interrupted.map_or(Ok(imported), Err)
}

struct Job<H: FsVerityHashValue> {
    context: BackendContext,
    repo: Arc<Repository<H>>,
    source: Source,
    events: Events,
}

impl<H: FsVerityHashValue> Job<H> {
    async fn import(self, index: usize, spec: LayerSpec) -> Result<(Digest, H)> {
        let diff_id: OciDigest =
            spec.diff_id.as_str().parse().context(|| format!("import layer {}", spec.digest))?;
        let content_id = composefs_oci::layer_content_id(&diff_id);
        if has_layer(&self.repo, spec.diff_id.as_str())? {
            self.events.skipped(spec.digest.as_str());
            let known = self.repo.has_stream(&content_id).context(|| format!("look up layer {diff_id}"))?;
            let known = known.ok_or_else(|| Error::internal("a layer disappeared"))?;
            return Ok((spec.diff_id, known));
        }
        self.context.sysroot.faults().before(&format!("import layer {}", spec.digest))?;
        let progress = self.events.layer(spec.digest.as_str(), spec.size.unwrap_or_default());
        let (sender, stream) = blobs::stream();
        let reading = self.source.layer(index, spec.clone(), progress, sender);
        let storing = import_layer(&self.repo, &diff_id, None, Scanned::new(stream));
        let (read, stored) = tokio::join!(reading, storing);
        let progress = read?;
        let (id, _) = stored.map_err(|error| self.explain(&spec, &error))?;
        progress.finish();
        Ok((spec.diff_id, id))
    }

    /// The library refused the stream: because the blob is damaged, or because the image is like that?
    fn explain(&self, spec: &LayerSpec, error: &anyhow::Error) -> Error {
        let refused =
            errors::library(format!("unpack layer {}", spec.digest), ErrorKind::InvalidInput, error);
        if refused.kind() == ErrorKind::InvalidInput && self.source.recheck(spec) == Some(false) {
            return Error::integrity(format!("layer {} does not have its digest", spec.digest))
                .with_hint("the source is damaged or was changed: copy or push the image again");
        }
        match refused.kind() {
            ErrorKind::InvalidInput => {
                refused.with_hint("the layer is not a tar that can be deployed: build the image again")
            }
            _ => refused,
        }
    }
}

/// Names what is complete. An image that was stored by another tool may lack its root image still.
fn finish<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    manifest: &OciDigest,
    name: &str,
) -> Result<()> {
    composefs_oci::generate_boot_image(repo, manifest, &OciTransformOptions::default())
        .or_kind(ErrorKind::InvalidInput, || "put the layers of the image together".to_owned())?;
    context.sysroot.faults().before("name the fetched image")?;
    composefs_oci::tag_image(repo, manifest, name).context(|| "name the fetched image".to_owned())?;
    context.sysroot.sync_filesystem()?;
    unclean::end(context)
}
