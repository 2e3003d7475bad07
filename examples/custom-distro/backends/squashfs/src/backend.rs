//! The storage backend: each method does its work where blocking is allowed.

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
    process::blocking,
    tree::{BlobSource, Reader, TreeReader},
};

use crate::{CAPABILITIES, deploy, squash};

/// Deployments kept as squashfs images in files.
#[derive(Debug)]
pub struct SquashfsBackend(Arc<BackendContext>);

impl SquashfsBackend {
    /// The backend for this sysroot. Touches nothing.
    pub fn new(context: BackendContext) -> Self {
        Self(Arc::new(context))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BackendContext) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let context = Arc::clone(&self.0);
        blocking(move || work(&context)).await
    }
}

#[async_trait]
impl BlobSource for SquashfsBackend {
    async fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        deploy::layers(&self.0.sysroot).open_blob(blob)
    }
}

#[async_trait]
impl StorageBackend for SquashfsBackend {
    fn capabilities(&self) -> BackendCapabilities {
        CAPABILITIES
    }

    async fn initialize(&self) -> Result<()> {
        deploy::layers(&self.0.sysroot).initialize()?;
        self.0.sysroot.create_dir_all(squash::IMAGES)?;
        self.0.sysroot.sync_filesystem()
    }

    async fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate> {
        deploy::layers(&self.0.sysroot).estimate(image)
    }

    async fn fetch(&self, image: &ImageSummary, progress: &dyn Progress) -> Result<PinnedImage> {
        deploy::layers(&self.0.sysroot).fetch(image, progress).await
    }

    async fn root_args(&self, _: &PinnedImage) -> Result<KernelCmdline> {
        Err(Error::unsupported("the squashfs backend knows its root argument only when an image is deployed")
            .with_hint("leave the root out of the UKI: the bootloader adds it"))
    }

    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment> {
        let spec = spec.clone();
        self.blocking(move |context| deploy::prepare(context, &spec)).await
    }

    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport> {
        let id = id.clone();
        self.blocking(move |context| deploy::finalize(context, &id)).await
    }

    async fn published(&self) -> Result<()> {
        Ok(())
    }

    async fn seal(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        Ok(deploy::all(&self.0.sysroot)?.into_iter().map(|record| record.deployment).collect())
    }

    async fn booted(&self, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
        Ok(deploy::booted(&self.0.sysroot, cmdline))
    }

    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts> {
        Ok(deploy::get(&self.0.sysroot, id)?.artifacts)
    }

    async fn tree(&self, id: &DeploymentId) -> Result<Box<dyn TreeReader>> {
        let manifest = deploy::get(&self.0.sysroot, id)?.deployment.image.manifest_digest;
        self.blocking(
            move |context| Ok(Box::new(deploy::layers(&context.sysroot).open(&manifest)?.tree) as _),
        )
        .await
    }

    async fn retain(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        let keep = keep.clone();
        self.blocking(move |context| deploy::retain(context, &keep)).await
    }

    async fn verify(&self, _: &dyn Progress) -> Result<VerifyReport> {
        self.blocking(|context| deploy::verify(&context.sysroot)).await
    }
}
