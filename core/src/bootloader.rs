//! The bootloader: what boots, in which order, how often it is tried; loader binaries; room for boot files.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use async_trait::async_trait;

use crate::{
    capability::BootloaderCapabilities,
    error::{Error, Result},
    model::{BootPlan, BootState, DeploymentId, Removed, SpaceNeed, VerifyReport},
    tree::{BlobSource, TreeReader},
};

/// Files that were copied beside the live ones, synced and verified, waiting for [`Bootloader::commit`].
///
/// Opaque to core; dropping it without a commit changes nothing that boots, and `sweep` removes the files.
#[derive(Debug)]
pub struct Staged {
    /// Generation of the plan.
    pub generation: u64,
    token: Box<dyn Any + Send>,
}

impl Staged {
    /// What was staged for `plan`, with the bootloader's own notes on what its commit has to do.
    pub fn new(plan: &BootPlan, token: impl Any + Send) -> Self {
        Self { generation: plan.generation, token: Box::new(token) }
    }

    /// The notes, for the commit.
    ///
    /// # Errors
    /// `Internal` if they are of another type: another bootloader's.
    pub fn into_token<T: Any>(self) -> Result<T> {
        let other = |_| Error::internal("these boot files were staged by another bootloader");
        self.token.downcast().map(|token| *token).map_err(other)
    }
}

/// A program that starts kernels.
///
/// A bootloader never sees an image, a digest algorithm of a store or a deployment folder: it gets kernel artifacts as
/// blobs, and opaque ids. It finds its own entries among foreign ones, and leaves those alone (invariant I7).
#[async_trait]
pub trait Bootloader: Debug + Send + Sync {
    /// What this bootloader can do on this machine. Constant for the life of the value.
    fn capabilities(&self) -> BootloaderCapabilities;

    /// Installs or updates loader binaries, taken from the deployment's tree. No entry changes.
    ///
    /// # Behaviour
    /// - Repeatable; binaries that are equal already are not written.
    /// - A loader with no binaries of its own does nothing.
    ///
    /// # Errors
    /// - `NotFound` if the tree lacks a binary, naming the package that usually has it.
    async fn install(&self, tree: &dyn TreeReader) -> Result<()>;

    /// What is published, from disk and firmware.
    ///
    /// # Behaviour
    /// - Foreign and damaged entries never make it fail; ours that are damaged carry a `problem`.
    async fn read(&self) -> Result<BootState>;

    /// Room that staging `plan` takes at its peak, for every file system that it would write to.
    async fn space_needed(&self, plan: &BootPlan) -> Result<Vec<SpaceNeed>>;

    /// Bytes that [`Bootloader::sweep`] would free with this `keep`, by the name of the file system ([`SpaceNeed::place`]). At least so much: what
    /// `plan` would have to copy again does not count.
    ///
    /// # Behaviour
    /// - Changes nothing. Core asks before it lets an old deployment give way, which must not happen for nothing.
    async fn reclaimable(
        &self,
        keep: &BTreeSet<DeploymentId>,
        plan: &BootPlan,
    ) -> Result<BTreeMap<String, u64>>;

    /// Copies what `plan` adds beside the live files, syncs it and reads it back.
    ///
    /// # Behaviour
    /// - Invisible: what boots, and in which order, is unchanged, whatever happens.
    /// - Each blob is checked against its digest while it is copied.
    /// - `tree` is the tree of the deployment to be added (for parts that the loader needs from it, such as the UKI stub);
    ///   a plan that only keeps entries never reads from `tree` or `blobs`.
    ///
    /// # Errors
    /// - `NoSpace` with the numbers; files written so far are removed again.
    /// - `NotFound` if the plan keeps an entry that is not on disk.
    async fn stage(
        &self,
        plan: &BootPlan,
        blobs: &dyn BlobSource,
        tree: Option<&dyn TreeReader>,
    ) -> Result<Staged>;

    /// The one switch.
    ///
    /// # Behaviour
    /// - Whenever power fails, what boots is wholly the old or wholly the new order.
    /// - Returns after the switch is durable.
    ///
    /// # Errors
    /// - With effect `None`: the old plan is in force. With effect `Committed`: the new one.
    async fn commit(&self, staged: Staged) -> Result<()>;

    /// Removes what a stopped call has half-written: nothing that an entry needs.
    ///
    /// # Behaviour
    /// - Runs under the lock, in every command that changes something, before anything else is written to the boot file systems: on
    ///   FAT, a half-written file may lay claim to clusters that the table calls free, and that the next file would be given
    ///   ([`remove_temporaries`](crate::boot_files::remove_temporaries)).
    /// - Repeatable.
    async fn remove_unfinished(&self) -> Result<()>;

    /// Removes our entries of deployments that are not in `keep`, entries that a newer one of the same deployment
    /// supersedes, and files that no remaining entry needs.
    ///
    /// # Behaviour
    /// - Runs only after a commit is durable (invariant I3); core decides what is kept.
    /// - Keeps the default entry in any case.
    /// - Repeatable.
    ///
    /// # Errors
    /// - `InvalidInput` for an empty `keep`: nothing is deleted.
    async fn sweep(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed>;

    /// Reads every file that our entries need, and compares it with its digest.
    ///
    /// # Behaviour
    /// - Covers kernels, initrds, UKIs, addons, device trees, and the entries themselves: one changed bit in any of them is a problem that
    ///   names this file and the deployments that need it, and no other file.
    /// - Reads what the disk holds, not what is cached. Changes nothing.
    /// - Files of others are not looked at.
    async fn verify(&self) -> Result<VerifyReport>;

    /// This boot was good: the entry of `deployment` is no longer counted, or becomes the lasting default.
    ///
    /// # Behaviour
    /// - Repeatable, and does nothing for an entry that is not being tried.
    async fn confirm(&self, deployment: &DeploymentId) -> Result<()>;

    /// Early in a boot: has the entry on trial started by the next one too, if it has tries left. Returns whether the machine has to reboot
    /// for it now, because it was tried, did not come up, and something else runs.
    ///
    /// # Behaviour
    /// - For loaders that do not count by themselves. Others leave it as it is: it does nothing.
    /// - Called only where the variable [`TRIAL`](crate::efi::TRIAL) exists, so that an ordinary boot pays nothing.
    /// - One try less is durable before the next one is armed: however often power fails, the tries come to an end.
    async fn try_again(&self) -> Result<bool> {
        Ok(false)
    }
}
