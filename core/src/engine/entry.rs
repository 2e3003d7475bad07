//! Describing a new boot entry: kernel and root arguments from the backend, names and arguments from the tree.

use super::{ArgumentSources, Engine, compatible};
use crate::{
    error::Result,
    image_config::{OsRelease, kargs},
    model::{BootArtifacts, DeploymentId, EntrySpec},
    tree::{TreeReader, TreeReaderExt},
};

/// Where a tree describes itself (os-release(5)).
const OS_RELEASE: &str = "usr/lib/os-release";

impl Engine {
    /// Reads all that a boot entry of `id` needs, and checks that this bootloader can start it. Writes nothing.
    pub(super) async fn entry_spec(&self, id: &DeploymentId) -> Result<(EntrySpec, Box<dyn TreeReader>)> {
        let tree = self.parts.backend.tree(id).await?;
        let artifacts = self.parts.backend.boot_artifacts(id).await?;
        let extra_args = self.extra_args(id, &artifacts, &*tree).await?;
        let os_release = tree.read_text(OS_RELEASE).await?.unwrap_or_default();
        let names = OsRelease::parse(OS_RELEASE, &os_release)?;
        let spec = EntrySpec {
            deployment: id.clone(),
            title: names.pretty_name().to_owned(),
            version: names.version().map(ToOwned::to_owned),
            os_release,
            artifacts,
            extra_args,
            tries: None,
        };
        Ok((spec, tree))
    }

    async fn extra_args(
        &self,
        id: &DeploymentId,
        artifacts: &BootArtifacts,
        tree: &dyn TreeReader,
    ) -> Result<crate::model::KernelCmdline> {
        let record = self.parts.state.record(id)?;
        let sources = ArgumentSources {
            image: kargs::load(tree, std::env::consts::ARCH).await?,
            machine: record.machine_args,
            user: record.user_args,
        };
        compatible(artifacts, &sources, self.parts.backend.capabilities(), self.parts.loader.capabilities())
    }
}
