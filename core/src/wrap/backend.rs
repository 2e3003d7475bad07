//! The layer around storage backends.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;

use super::{guard, not_everything, traced};
use crate::{
    backend::{FetchEstimate, StorageBackend},
    capability::BackendCapabilities,
    error::Result,
    etc_merge::MergeReport,
    model::{
        Blob, BootArtifacts, DeploySpec, Deployment, DeploymentId, ImageSummary, KernelCmdline, PinnedImage,
        Progress, Removed, VerifyReport,
    },
    tree::{BlobSource, Reader, TreeReader},
};

#[derive(Debug)]
struct Wrapped(&'static str, Arc<dyn StorageBackend>);

/// `inner` with checks, error context and tracing around every call. `name` is the plugin's registered name.
pub fn backend(name: &'static str, inner: Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend> {
    Arc::new(Wrapped(name, inner))
}

#[async_trait]
impl BlobSource for Wrapped {
    async fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        traced(self.0, "open_blob", self.1.open_blob(blob)).await
    }
}

#[async_trait]
impl StorageBackend for Wrapped {
    fn capabilities(&self) -> BackendCapabilities {
        self.1.capabilities()
    }

    async fn initialize(&self) -> Result<()> {
        traced(self.0, "initialize", self.1.initialize()).await
    }

    async fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate> {
        traced(self.0, "estimate", self.1.estimate(image)).await
    }

    async fn fetch(&self, image: &ImageSummary, progress: &dyn Progress) -> Result<PinnedImage> {
        traced(self.0, "fetch", self.1.fetch(image, progress)).await
    }

    async fn root_args(&self, image: &PinnedImage) -> Result<KernelCmdline> {
        let checked = async {
            guard::root_args(self.capabilities())?;
            self.1.root_args(image).await
        };
        traced(self.0, "root_args", checked).await
    }

    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment> {
        traced(self.0, "prepare", self.1.prepare(spec)).await
    }

    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport> {
        traced(self.0, "finalize", self.1.finalize(id)).await
    }

    async fn published(&self) -> Result<()> {
        traced(self.0, "published", self.1.published()).await
    }

    async fn seal(&self, notes: &Path) -> Result<()> {
        traced(self.0, "seal", self.1.seal(notes)).await
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        traced(self.0, "deployments", self.1.deployments()).await
    }

    async fn booted(&self, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
        traced(self.0, "booted", self.1.booted(cmdline)).await
    }

    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts> {
        traced(self.0, "boot_artifacts", self.1.boot_artifacts(id)).await
    }

    async fn tree(&self, id: &DeploymentId) -> Result<Box<dyn TreeReader>> {
        traced(self.0, "tree", self.1.tree(id)).await
    }

    async fn retain(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        not_everything(keep)?;
        traced(self.0, "retain", self.1.retain(keep)).await
    }

    async fn unpin(&self, id: &DeploymentId) -> Result<()> {
        traced(self.0, "unpin", self.1.unpin(id)).await
    }

    async fn verify(&self, progress: &dyn Progress) -> Result<VerifyReport> {
        traced(self.0, "verify", self.1.verify(progress)).await
    }
}
