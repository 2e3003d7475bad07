//! The bootloader `grub2`: GRUB 2 under UEFI and BIOS, with a configuration that is generated and switched by one rename.
//!
//! **Configuration.** `EFI/bootwright/grub.cfg` on the ESP names every entry; `script` writes it. Its renaming is the switch. FAT has no
//! journal, so that GRUB reads what an fsync has made durable; the environment block `grubenv` lies beside it for the same reason,
//! and because GRUB writes it in place, which a file system with checksums or copy-on-write does not allow.
//!
//! **Kernels** lie by content in `bootwright-grub/<sha256>/` on the separate boot partition if there is one, else on the root file system
//! if GRUB reads it, else on the ESP. UKIs lie on FAT, where the firmware finds them too (`places`).
//!
//! **Trials.** An entry that is being tried has a counter in the environment block. The script takes one off and saves it *before* the
//! entry is chosen; an entry whose counter is used up, or cannot be saved, is passed over. Variables are named by the generation that added
//! the entry, so that nothing has to be written there to publish one.
//!
//! **UKIs** are chainloaded, under UEFI only. Arguments given there replace the embedded ones, so that what is given is all of them.
//!
//! **Binaries** are made of the modules in the deployment's tree (`install`). If the tree has shim and a signed GRUB, those are taken instead,
//! byte for byte, and a few lines in the folder that this GRUB looks in lead to our configuration (`signed`).

mod bios;
mod commit;
mod entry;
mod env_block;
mod files;
mod image;
mod install;
mod made;
mod menu;
mod places;
mod prefix;
mod quote;
mod script;
mod signed;
mod stage;
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
    context::{BootContext, Firmware},
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
        name: "grub2",
        summary: "GRUB 2 on UEFI and BIOS, with boot counting",
        capabilities: CAPABILITIES,
        partitions: PartitionNeeds {
            bios_boot: true,
            boot_filesystems: &["ext4", "btrfs", "xfs", "vfat"],
        },
        detect: |context| Ok(context.esp.exists(menu::CONFIG)),
        open: |context| Ok(Arc::new(Grub2::new(context))),
    }
}

/// GRUB 2 on one disk.
#[derive(Debug)]
pub struct Grub2 {
    context: BootContext,
}

impl Grub2 {
    /// Works on the file systems of `context`.
    pub fn new(context: BootContext) -> Self {
        Self { context }
    }
}

#[async_trait]
impl Bootloader for Grub2 {
    /// A BIOS cannot start a UKI. Where the machine is not known, a UKI makes a disk for UEFI only.
    fn capabilities(&self) -> BootloaderCapabilities {
        let uefi = self.context.firmware != Firmware::Bios;
        BootloaderCapabilities { unified_kernels: uefi, addons: uefi, ..CAPABILITIES }
    }

    async fn install(&self, tree: &dyn TreeReader) -> Result<()> {
        install::install(&self.context, tree).await
    }

    async fn read(&self) -> Result<BootState> {
        menu::read(&self.context)
    }

    async fn space_needed(&self, plan: &BootPlan) -> Result<Vec<SpaceNeed>> {
        files::space_needed(&self.context, plan)
    }

    async fn reclaimable(
        &self,
        keep: &BTreeSet<DeploymentId>,
        plan: &BootPlan,
    ) -> Result<BTreeMap<String, u64>> {
        sweep::reclaimable(&self.context, keep, plan)
    }

    async fn stage(
        &self,
        plan: &BootPlan,
        blobs: &dyn BlobSource,
        _tree: Option<&dyn TreeReader>,
    ) -> Result<Staged> {
        bootwright_core::boot_files::short_of_space(&self.space_needed(plan).await?)?;
        let token = stage::stage(&self.context, plan, blobs).await?;
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
        verify::verify(&self.context)
    }

    async fn confirm(&self, deployment: &DeploymentId) -> Result<()> {
        commit::confirm(&self.context, deployment)
    }
}
