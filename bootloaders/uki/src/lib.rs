//! The bootloader `uki`: the firmware starts a UKI itself, with no loader in between.
//!
//! **Files.** `EFI/Linux/bootwright-<deployment>-<tag>.efi` on the ESP. A UKI of the image is copied as it is; an image with kernel
//! and initrd has its UKI assembled from the systemd stub in its own tree.
//!
//! **Where firmware variables are at hand**, each file gets a `Boot####` option whose description carries the generation, and the write
//! of `BootOrder` is the commit. An entry with tries is started by `BootNext` instead, while `BootOrder` still names the old one; [confirming]
//! it writes `BootOrder`. So an entry that fails to come up falls back without any help. The firmware forgets `BootNext` when it follows it:
//! early in each boot it is [written again], by the entry on trial itself, or, if that did not come so far, by the old one, which reboots.
//!
//! **On a disk that has not met its firmware** the removable-media path (`EFI/BOOT/BOOTX64.EFI`) is what boots, and renaming a full copy
//! over it is the commit. Which deployment it belongs to is told by its digest. On a machine with variables the copy is refreshed
//! after a good boot; until then the deployment in it is reported as `also_bootable`.
//!
//! `EFI/bootwright/plans.jsonl` notes what was published, for titles and for the order on a disk without firmware. It cannot change
//! what boots, and where it disagrees with the files, the files are believed.
//!
//! [confirming]: Bootloader::confirm
//! [written again]: Bootloader::try_again

mod build;
mod commit;
mod confirm;
mod firmware;
mod names;
mod plans;
mod removable;
mod seen;
mod stage;
mod state;
mod sweep;
mod trial;
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
        name: "uki",
        summary: "unified kernel images started by the firmware itself",
        capabilities: CAPABILITIES,
        partitions: PartitionNeeds { bios_boot: false, boot_filesystems: &[] },
        detect: |context| Ok(!names::list(&context.esp)?.is_empty()),
        open: |context| Ok(Arc::new(FirmwareUki::new(context))),
    }
}

/// UKIs on one disk.
#[derive(Debug)]
pub struct FirmwareUki {
    context: BootContext,
}

impl FirmwareUki {
    /// Works on the ESP and the firmware of `context`.
    pub fn new(context: BootContext) -> Self {
        Self { context }
    }
}

#[async_trait]
impl Bootloader for FirmwareUki {
    /// Trials and one-shot boots need the firmware's variables: they are missing where an install goes to another disk.
    fn capabilities(&self) -> BootloaderCapabilities {
        let firmware = firmware::usable(&self.context);
        BootloaderCapabilities { boot_counting: firmware, one_shot: firmware, ..CAPABILITIES }
    }

    /// There is no loader to install.
    async fn install(&self, _tree: &dyn TreeReader) -> Result<()> {
        Ok(())
    }

    async fn read(&self) -> Result<BootState> {
        state::read(&self.context)
    }

    async fn space_needed(&self, plan: &BootPlan) -> Result<Vec<SpaceNeed>> {
        Ok(vec![build::space_needed(&self.context, plan)?])
    }

    async fn reclaimable(
        &self,
        keep: &BTreeSet<DeploymentId>,
        _plan: &BootPlan,
    ) -> Result<BTreeMap<String, u64>> {
        // No two deployments share a UKI: what goes is in no plan.
        Ok(BTreeMap::from([(build::PLACE.to_owned(), sweep::reclaimable(&self.context, keep)?)]))
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
        sweep::remove_unfinished(&self.context.esp).map(drop)
    }

    async fn sweep(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        sweep::sweep(&self.context, keep)
    }

    async fn verify(&self) -> Result<VerifyReport> {
        verify::verify(&self.context)
    }

    async fn confirm(&self, deployment: &DeploymentId) -> Result<()> {
        confirm::confirm(&self.context, deployment)
    }

    async fn try_again(&self) -> Result<bool> {
        trial::try_again(&self.context)
    }
}
