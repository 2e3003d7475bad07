//! The storage backend: each method opens repository and catalogue, does its work where blocking is allowed, and lets go again.

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
        Progress, ProgressEvent, Removed, VerifyReport,
    },
    registry::Verity,
    tree::{BlobSource, Reader, TreeReader},
};

use crate::{
    catalogue::{layout, unpublished},
    deploy::{blob, booted, files::CommitTree, finalize, pin, prepare, record},
    fetch, plugin,
    repo::{self, Store},
    retain, verified, verify,
};

/// Deployments kept in an `OSTree` repository.
#[derive(Debug, Clone)]
pub struct OstreeBackend {
    context: Arc<BackendContext>,
}

impl OstreeBackend {
    /// The backend for this sysroot. Touches nothing.
    pub fn new(context: BackendContext) -> Self {
        Self { context: Arc::new(context) }
    }

    fn store(&self) -> Store {
        Store::new(self.context.sysroot.clone())
    }

    /// Runs `work` on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<BackendContext>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let context = Arc::clone(&self.context);
        let done = tokio::task::spawn_blocking(move || work(&context)).await;
        done.map_err(|error| {
            Error::internal("a worker thread of the OSTree backend stopped").with_source(error)
        })?
    }
}

#[async_trait]
impl BlobSource for OstreeBackend {
    async fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        let blob = blob.clone();
        self.blocking(move |context| blob::open(context, &blob)).await
    }
}

#[async_trait]
impl StorageBackend for OstreeBackend {
    fn capabilities(&self) -> BackendCapabilities {
        let verified_root = self.context.verity == Verity::Required;
        BackendCapabilities { verified_root, ..plugin::CAPABILITIES }
    }

    async fn initialize(&self) -> Result<()> {
        self.blocking(|context| {
            verified::store::check(context)?;
            repo::initialize(&context.sysroot)?;
            layout::initialize(context)?;
            context.sysroot.create_dir_all(record::FOLDER)
        })
        .await
    }

    async fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate> {
        fetch::estimate(&self.store(), image)
    }

    async fn fetch(&self, image: &ImageSummary, progress: &dyn Progress) -> Result<PinnedImage> {
        fetch::fetch(&self.store(), image, progress).await
    }

    async fn root_args(&self, _image: &PinnedImage) -> Result<KernelCmdline> {
        Err(Error::unsupported("OSTree's root arguments are only known once an image is deployed").with_hint(
            "build the UKI without them: the bootloader brings them; or use a backend that can seal a UKI to its root",
        ))
    }

    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment> {
        let spec = spec.clone();
        self.blocking(move |context| prepare::prepare(context, &spec)).await
    }

    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport> {
        let id = id.clone();
        self.blocking(move |context| finalize::finalize(context, &id)).await
    }

    async fn published(&self) -> Result<()> {
        self.blocking(|context| unpublished::clear(context)).await
    }

    async fn seal(&self, _notes: &Path) -> Result<()> {
        Ok(())
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        self.blocking(|context| prepare::deployments(context)).await
    }

    async fn booted(&self, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
        let cmdline = cmdline.clone();
        self.blocking(move |context| booted::booted(context, &cmdline)).await
    }

    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts> {
        let id = id.clone();
        self.blocking(move |context| prepare::boot_artifacts(context, &id)).await
    }

    async fn tree(&self, id: &DeploymentId) -> Result<Box<dyn TreeReader>> {
        let id = id.clone();
        self.blocking(move |context| {
            // The image's own commit: what was added for libostree's sake is not in the image.
            let record = record::get(context, &id)?;
            let commit = record.deployment.id.as_str().to_owned();
            Ok(Box::new(CommitTree::new(Arc::clone(context), commit)) as Box<dyn TreeReader>)
        })
        .await
    }

    async fn retain(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        let keep = keep.clone();
        self.blocking(move |context| retain::retain(context, &keep)).await
    }

    async fn unpin(&self, id: &DeploymentId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |context| pin::unpin(context, &id)).await
    }

    async fn verify(&self, progress: &dyn Progress) -> Result<VerifyReport> {
        let id = || "objects".to_owned();
        let what = "reading every object".to_owned();
        progress.report(ProgressEvent::Started { id: id(), what, total: None });
        let report = self.blocking(|context| verify::verify(context)).await;
        progress.report(ProgressEvent::Finished { id: id(), skipped: false });
        report
    }
}
