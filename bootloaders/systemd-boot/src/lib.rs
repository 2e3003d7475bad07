//! The bootloader `systemd-boot`: Type #1 entries on the ESP, or on XBOOTLDR where the disk has one.
//!
//! **Files.** `loader/entries/bootwright-<generation>-<deployment>[+<tries>].conf`, and kernels, initrds and UKIs by content under
//! `bootwright/<sha256>/`, shared by all entries that need the same bytes.
//!
//! **Order.** The sort key carries the generation, inverted, so that the newest entry sorts first. Publishing is the
//! appearance of one file, by rename; so is a rollback, which publishes a further entry for files that are there already. What
//! it supersedes is removed by the next sweep.
//!
//! **UKIs** are named by the `efi` key of a Type #1 entry: order and tries stay ours, and without options the stub uses the
//! embedded command line (`docs/adr/0002-type1-entries-for-ukis.md`).
//!
//! **What others may do.** Foreign entries and UKIs are listed and left alone. A `default` line in `loader.conf`, or the variable
//! `LoaderEntryDefault` (`bootctl set-default`, or the key `d` in the menu), wins over any order, even for an exhausted entry: there is no fallback then. None
//! is written here. One that an administrator has set is respected, and shown by `status`; but a variable that names an entry of ours goes when another
//! deployment is published as the default (`choice`).

mod choice;
mod commit;
mod files;
mod install;
mod menu;
mod names;
mod stage;
mod state;
mod sweep;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use bootwright_core::{
    Bootloader, Result,
    bootloader::Staged,
    capability::BootloaderCapabilities,
    context::BootContext,
    fs::Root,
    inventory,
    model::{BootPlan, BootState, DeploymentId, Removed, SpaceNeed, VerifyReport},
    registry::{BootloaderPlugin, PartitionNeeds},
    tree::{BlobSource, TreeReader},
};

const CAPABILITIES: BootloaderCapabilities = BootloaderCapabilities {
    split_kernels: true,
    unified_kernels: true,
    addons: true,
    boot_counting: true,
    one_shot: true,
};

inventory::submit! {
    BootloaderPlugin {
        name: "systemd-boot",
        summary: "Type #1 entries on the ESP or XBOOTLDR, with boot counting",
        capabilities: CAPABILITIES,
        // It reads what the firmware reads.
        partitions: PartitionNeeds { bios_boot: false, boot_filesystems: &["vfat"] },
        detect: |context| Ok(!menu::Menu::load(boot_root(context))?.ours.is_empty()),
        open: |context| Ok(Arc::new(SystemdBoot::new(context))),
    }
}

/// The partition that entries and kernels are on (UAPI.1, "$BOOT").
fn boot_root(context: &BootContext) -> &Root {
    context.xbootldr.as_ref().unwrap_or(&context.esp)
}

/// systemd-boot on one disk.
#[derive(Debug)]
pub struct SystemdBoot {
    context: BootContext,
}

impl SystemdBoot {
    /// Works on the partitions of `context`.
    pub fn new(context: BootContext) -> Self {
        Self { context }
    }

    fn boot(&self) -> &Root {
        boot_root(&self.context)
    }

    fn place(&self) -> &'static str {
        if self.context.xbootldr.is_some() { "the XBOOTLDR partition" } else { "the ESP" }
    }
}

#[async_trait]
impl Bootloader for SystemdBoot {
    /// One-shot boots need the firmware's variables: they are missing where an install goes to another disk.
    fn capabilities(&self) -> BootloaderCapabilities {
        BootloaderCapabilities { one_shot: self.context.efi.available(), ..CAPABILITIES }
    }

    async fn install(&self, tree: &dyn TreeReader) -> Result<()> {
        install::install(&self.context, tree).await
    }

    async fn read(&self) -> Result<BootState> {
        state::read(&self.context)
    }

    async fn space_needed(&self, plan: &BootPlan) -> Result<Vec<SpaceNeed>> {
        Ok(vec![files::space_needed(self.boot(), self.place(), plan)?])
    }

    async fn reclaimable(
        &self,
        keep: &BTreeSet<DeploymentId>,
        plan: &BootPlan,
    ) -> Result<BTreeMap<String, u64>> {
        let bytes = sweep::reclaimable(&self.context, keep, plan)?;
        Ok(BTreeMap::from([(self.place().to_owned(), bytes)]))
    }

    async fn stage(
        &self,
        plan: &BootPlan,
        blobs: &dyn BlobSource,
        tree: Option<&dyn TreeReader>,
    ) -> Result<Staged> {
        bootwright_core::boot_files::short_of_space(&self.space_needed(plan).await?)?;
        let token = stage::stage(&self.context, plan, blobs, tree).await?;
        Ok(Staged::new(plan, token))
    }

    async fn commit(&self, staged: Staged) -> Result<()> {
        commit::commit(&self.context, &staged.into_token()?)
    }

    async fn remove_unfinished(&self) -> Result<()> {
        sweep::remove_unfinished(&self.context).map(drop)
    }

    async fn sweep(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        sweep::sweep(&self.context, keep)
    }

    async fn verify(&self) -> Result<VerifyReport> {
        verify::verify(self.boot(), self.place())
    }

    async fn confirm(&self, deployment: &DeploymentId) -> Result<()> {
        commit::confirm(&self.context, deployment)
    }
}
