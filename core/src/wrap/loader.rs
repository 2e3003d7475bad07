//! The layer around bootloaders.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{guard, not_everything, traced};
use crate::{
    bootloader::{Bootloader, Staged},
    capability::BootloaderCapabilities,
    error::Result,
    model::{BootPlan, BootState, DeploymentId, Removed, SpaceNeed, VerifyReport},
    tree::{BlobSource, TreeReader},
};

#[derive(Debug)]
struct Wrapped(&'static str, Arc<dyn Bootloader>);

/// `inner` with checks, error context and tracing around every call. `name` is the plugin's registered name.
pub fn loader(name: &'static str, inner: Arc<dyn Bootloader>) -> Arc<dyn Bootloader> {
    Arc::new(Wrapped(name, inner))
}

#[async_trait]
impl Bootloader for Wrapped {
    fn capabilities(&self) -> BootloaderCapabilities {
        self.1.capabilities()
    }

    async fn install(&self, tree: &dyn TreeReader) -> Result<()> {
        traced(self.0, "install", self.1.install(tree)).await
    }

    async fn read(&self) -> Result<BootState> {
        traced(self.0, "read", self.1.read()).await
    }

    async fn space_needed(&self, plan: &BootPlan) -> Result<Vec<SpaceNeed>> {
        let checked = async {
            guard::plan(plan, self.capabilities())?;
            self.1.space_needed(plan).await
        };
        traced(self.0, "space_needed", checked).await
    }

    async fn reclaimable(
        &self,
        keep: &BTreeSet<DeploymentId>,
        plan: &BootPlan,
    ) -> Result<BTreeMap<String, u64>> {
        not_everything(keep)?;
        traced(self.0, "reclaimable", self.1.reclaimable(keep, plan)).await
    }

    async fn stage(
        &self,
        plan: &BootPlan,
        blobs: &dyn BlobSource,
        tree: Option<&dyn TreeReader>,
    ) -> Result<Staged> {
        let checked = async {
            guard::plan(plan, self.capabilities())?;
            self.1.stage(plan, blobs, tree).await
        };
        traced(self.0, "stage", checked).await
    }

    async fn commit(&self, staged: Staged) -> Result<()> {
        traced(self.0, "commit", self.1.commit(staged)).await
    }

    async fn remove_unfinished(&self) -> Result<()> {
        traced(self.0, "remove_unfinished", self.1.remove_unfinished()).await
    }

    async fn sweep(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        not_everything(keep)?;
        traced(self.0, "sweep", self.1.sweep(keep)).await
    }

    async fn verify(&self) -> Result<VerifyReport> {
        traced(self.0, "verify", self.1.verify()).await
    }

    async fn confirm(&self, deployment: &DeploymentId) -> Result<()> {
        traced(self.0, "confirm", self.1.confirm(deployment)).await
    }

    async fn try_again(&self) -> Result<bool> {
        traced(self.0, "try_again", self.1.try_again()).await
    }
}
