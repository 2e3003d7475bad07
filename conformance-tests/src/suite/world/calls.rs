//! Direct questions to plugins, for worlds that have them at hand.

use anyhow::Context as _;
use bootwright_core::{
    Bootloader, StorageBackend,
    model::{
        Blob, BootArtifacts, BootPlan, BootState, Digest, EntrySpec, KernelArtifacts, KernelCmdline,
        PlannedEntry,
    },
};
use sha2::{Digest as _, Sha256};

use super::PluginCall;
use crate::suite::Result;

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Asks for what the capabilities exclude, as an engine that does not look at them would. The plugins are behind their layer
/// ([`bootwright_core::wrap`]), as everywhere. [`PluginCall::VerifiedStore`] and [`PluginCall::OfflineSeal`] are for the world: they
/// need another store.
///
/// # Errors
/// The refusal, as is to be hoped.
pub async fn ask(backend: &dyn StorageBackend, loader: &dyn Bootloader, call: PluginCall) -> Result<()> {
    let state = loader.read().await?;
    let first = state.default_entry().context("a published entry")?.clone();
    if call == PluginCall::RootArgs {
        let all = backend.deployments().await?;
        let deployment = all.iter().find(|d| d.id == first.deployment).context("the default deployment")?;
        backend.root_args(&deployment.image).await?;
        return Ok(());
    }
    let artifacts = backend.boot_artifacts(&first.deployment).await?;
    let mut plan = keep_all(&state);
    if call == PluginCall::OneShot {
        plan.one_shot = Some(first.id);
    } else {
        let spec = spec(&first.deployment, artifacts, call);
        plan.entries.insert(0, PlannedEntry::Add(Box::new(spec)));
    }
    let tree = backend.tree(&first.deployment).await?;
    // Both ways in which the engine shows a plan to a bootloader.
    loader.space_needed(&plan).await?;
    let staged = loader.stage(&plan, &Blobs(backend), Some(&*tree)).await?;
    drop(staged);
    Ok(())
}

fn keep_all(state: &BootState) -> BootPlan {
    let entries = state.entries.iter().map(|entry| PlannedEntry::Keep(entry.id.clone())).collect();
    BootPlan { generation: state.generation + 1, entries, one_shot: None }
}

/// A new entry for an existing deployment, of the kind that the call is about.
fn spec(
    deployment: &bootwright_core::model::DeploymentId,
    artifacts: BootArtifacts,
    call: PluginCall,
) -> EntrySpec {
    let blob = first_blob(&artifacts.kernel);
    let kernel = match call {
        PluginCall::SplitEntry => KernelArtifacts::Split {
            kver: "1".to_owned(),
            kernel: blob,
            initrds: Vec::new(),
            devicetree: None,
        },
        PluginCall::UnifiedEntry | PluginCall::ExtraArguments => KernelArtifacts::Unified {
            kver: None,
            uki: blob,
            addons: Vec::new(),
            embedded: artifacts.root_args.clone(),
        },
        _ => artifacts.kernel,
    };
    let extra = if call == PluginCall::ExtraArguments { "suite.extra" } else { "" };
    EntrySpec {
        deployment: deployment.clone(),
        title: "asked for directly".to_owned(),
        version: None,
        os_release: String::new(),
        artifacts: BootArtifacts { kernel, root_args: artifacts.root_args },
        extra_args: KernelCmdline::parse_lossy(extra),
        tries: (call == PluginCall::CountedTries).then_some(3),
    }
}

fn first_blob(kernel: &KernelArtifacts) -> Blob {
    let none = || Blob { key: String::new(), size: 0, sha256: Digest::from_sha256([0; 32]) };
    kernel.blobs().first().map_or_else(none, |blob| (*blob).clone())
}

/// A backend, as a source of blobs only.
#[derive(Debug)]
struct Blobs<'a>(&'a dyn StorageBackend);

#[async_trait::async_trait]
impl bootwright_core::tree::BlobSource for Blobs<'_> {
    async fn open_blob(&self, blob: &Blob) -> bootwright_core::Result<bootwright_core::tree::Reader> {
        self.0.open_blob(blob).await
    }
}
