//! The storage backend: each method opens the repository, does its work where blocking is allowed, and lets go again.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;
use bootwright_core::{
    StorageBackend,
    backend::FetchEstimate,
    capability::BackendCapabilities,
    context::BackendContext,
    error::{Error, Result},
    etc_merge::MergeReport,
    model::{
        Blob, BootArtifacts, DeploySpec, Deployment, DeploymentId, ImageSummary, KernelCmdline, PinnedImage,
        Progress, Removed, VerifyReport,
    },
    registry::Verity,
    tree::{BlobSource, Reader, TreeReader},
};

use composefs::{fsverity::FsVerityHashValue, repository::Repository};

use crate::{
    deploy::{blob, etc, prepare, state},
    fetch, plugin,
    repo::{self, with_repo},
    retain,
    tree::{ImageTree, Objects, read_image},
    verify,
};

/// Deployments kept in a composefs repository.
#[derive(Debug, Clone)]
pub struct ComposefsBackend {
    context: Arc<BackendContext>,
}

impl ComposefsBackend {
    /// The backend for this sysroot. Touches nothing.
    pub fn new(context: BackendContext) -> Self {
        Self { context: Arc::new(context) }
    }

    /// Runs `work` on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BackendContext) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let context = Arc::clone(&self.context);
        let done = tokio::task::spawn_blocking(move || work(&context)).await;
        done.map_err(|error| {
            Error::internal("a worker thread of the composefs backend stopped").with_source(error)
        })?
    }
}

#[async_trait]
impl BlobSource for ComposefsBackend {
    async fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        let blob = blob.clone();
        self.blocking(move |context| with_repo!(context, |repo| open_blob(context, &repo, &blob))).await
    }
}

fn open_blob<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    blob: &Blob,
) -> Result<Reader> {
    blob::open::<H>(&*Objects::of(context, repo)?, blob)
}

#[async_trait]
impl StorageBackend for ComposefsBackend {
    fn capabilities(&self) -> BackendCapabilities {
        let verified_root = self.context.verity == Verity::Required;
        BackendCapabilities { verified_root, ..plugin::CAPABILITIES }
    }

    async fn initialize(&self) -> Result<()> {
        self.blocking(repo::initialize).await
    }

    async fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate> {
        // An install says what it costs before it makes the store.
        if !repo::exists(&self.context) {
            return fetch::estimate_without_store(image);
        }
        let image = image.clone();
        self.blocking(move |context| with_repo!(context, |repo| fetch::estimate(&repo, &image))).await
    }

    async fn fetch(&self, image: &ImageSummary, progress: &dyn Progress) -> Result<PinnedImage> {
        with_repo!(&self.context, |repo| {
            repo::verified(&self.context, &repo)?;
            fetch::fetch(&self.context, &repo, image, progress).await
        })
    }

    async fn root_args(&self, image: &PinnedImage) -> Result<KernelCmdline> {
        let image = image.clone();
        self.blocking(move |context| with_repo!(context, |repo| prepare::root_args(context, &repo, &image)))
            .await
    }

    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment> {
        let spec = spec.clone();
        self.blocking(move |context| with_repo!(context, |repo| prepare::prepare(context, &repo, &spec)))
            .await
    }

    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport> {
        let id = id.clone();
        self.blocking(move |context| with_repo!(context, |repo| etc::finalize(context, &repo, &id))).await
    }

    async fn published(&self) -> Result<()> {
        // Root arguments are digests: they never move.
        Ok(())
    }

    async fn seal(&self, notes: &Path) -> Result<()> {
        let notes = notes.to_owned();
        self.blocking(move |context| plugin::seal_mounted(context, &notes)).await
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        self.blocking(|context| {
            Ok(state::all(context)?.into_iter().map(|found| found.origin.deployment).collect())
        })
        .await
    }

    async fn booted(&self, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
        let cmdline = cmdline.clone();
        self.blocking(move |context| state::booted(context, &cmdline)).await
    }

    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts> {
        let id = id.clone();
        self.blocking(move |context| with_repo!(context, |repo| prepare::boot_artifacts(context, &repo, &id)))
            .await
    }

    async fn tree(&self, id: &DeploymentId) -> Result<Box<dyn TreeReader>> {
        let id = id.clone();
        self.blocking(move |context| with_repo!(context, |repo| open_tree(context, &repo, &id))).await
    }

    async fn retain(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        let keep = keep.clone();
        self.blocking(move |context| with_repo!(context, |repo| retain::retain(context, &repo, &keep))).await
    }

    async fn verify(&self, progress: &dyn Progress) -> Result<VerifyReport> {
        with_repo!(&self.context, |repo| verify::verify(&self.context, &repo, progress).await)
    }
}

fn open_tree<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    id: &DeploymentId,
) -> Result<Box<dyn TreeReader>> {
    let found = state::get(context, id)?;
    Ok(Box::new(ImageTree { tree: read_image(repo, &found.root)?, objects: Objects::of(context, repo)? }))
}
