//! The storage backend: which trees exist, their bytes, the `/etc` merge, the root arguments.

use std::{collections::BTreeSet, fmt::Debug, path::Path};

use async_trait::async_trait;

use crate::{
    capability::BackendCapabilities,
    error::Result,
    etc_merge::MergeReport,
    model::{
        BootArtifacts, DeploySpec, Deployment, DeploymentId, ImageSummary, KernelCmdline, PinnedImage,
        Progress, Removed, VerifyReport,
    },
    tree::{BlobSource, TreeReader},
};

/// What a fetch would transfer and store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchEstimate {
    /// Bytes to be transferred.
    pub download: u64,
    /// Layers that the store does not have.
    pub layers_missing: usize,
    /// Layers in all.
    pub layers: usize,
    /// Upper bound of the bytes that the store will grow by, as far as it can be known (unpacked sizes are not in a
    /// manifest, so this is a multiple of the transfer).
    pub store: u64,
}

/// A place that keeps trees.
///
/// A backend never sees a boot entry; order, pins and what boots belong to others. Only if the store's format has pins of its own, it tells of
/// them ([`Deployment::pinned_by_store`]) and takes them off. Every method may be called again
/// after a crash at any point of an earlier call.
#[async_trait]
pub trait StorageBackend: BlobSource + Debug + Send + Sync {
    /// What this backend can do with this store. Constant for the life of the value.
    fn capabilities(&self) -> BackendCapabilities;

    /// Makes an empty store in this sysroot.
    ///
    /// # Behaviour
    /// - Repeatable: an existing store of this backend is left as it is.
    /// - A store that another kind of backend made is not touched.
    ///
    /// # Errors
    /// - `Unsupported` if the file system cannot hold the store as demanded (no fs-verity); nothing is written then.
    async fn initialize(&self) -> Result<()>;

    /// What fetching this image would cost.
    async fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate>;

    /// Brings every byte of an image into the store.
    ///
    /// # Behaviour
    /// - No deployment appears and nothing bootable changes.
    /// - What the store has already is not transferred again, neither after an interruption nor from an earlier image.
    /// - Every byte is checked against the manifest's digests before it counts.
    ///
    /// # Errors
    /// - `Integrity` for a digest that does not match, `InvalidInput` for a malformed layer, `Interrupted` if the
    ///   transfer stopped, `NoSpace`.
    ///
    /// # Crash
    /// Leaves complete objects that nothing refers to; `retain` removes them, a repeated fetch uses them.
    async fn fetch(&self, image: &ImageSummary, progress: &dyn Progress) -> Result<PinnedImage>;

    /// The arguments by which early boot would find the root of a fetched image: what a UKI that is sealed to it has to embed. The
    /// image needs no kernel yet.
    ///
    /// # Errors
    /// - `Unsupported` for a backend that only knows them once the image is deployed.
    async fn root_args(&self, image: &PinnedImage) -> Result<KernelCmdline>;

    /// Materialises a deployment.
    ///
    /// # Behaviour
    /// - What boots today still boots the same tree with the same `/etc`.
    /// - The id depends on the tree and its kernel: another kernel is another deployment.
    /// - Repeatable: preparing what exists returns it.
    ///
    /// # Errors
    /// - `InvalidInput` if the image has no kernel or more than one kernel version.
    /// - `Integrity` if a UKI in the image names another root than this tree.
    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment>;

    /// Puts `/etc` in place: the three-way merge of the old default, the local state and the new default.
    ///
    /// # Behaviour
    /// - Runs at shutdown for a staged deployment, directly for an install.
    /// - Repeatable; a repeat merges again from the same three sources.
    /// - Never changes the deployment that it merges from.
    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport>;

    /// What boots was published anew, durably, from what [`StorageBackend::boot_artifacts`] said since the last
    /// [`StorageBackend::finalize`].
    ///
    /// A backend whose root arguments move when it finalises has two sets of them until it knows that the new one is in force. It
    /// is not told of a rollback, which publishes what was published before in another order.
    ///
    /// # Behaviour
    /// - Runs after the commit; after a crash in between, recovery calls it.
    /// - Repeatable, and nothing happens where root arguments never move.
    async fn published(&self) -> Result<()>;

    /// The last call of an install, while the root file system is still mounted; after it nothing of the store is used until the
    /// next boot. What can only be done after unmounting is left to `seal_offline` of the plugin.
    ///
    /// # Behaviour
    /// - `notes` is a folder outside the root file system, in which the backend may leave what `seal_offline` will need
    ///   ([`OfflineRoot::scratch`](crate::context::OfflineRoot::scratch) is the same folder).
    /// - Where the store can verify already, or need not, nothing happens.
    /// - Repeatable, also after an interruption.
    ///
    /// # Crash
    /// The store may be unusable; the install starts over.
    async fn seal(&self, notes: &Path) -> Result<()>;

    /// Every deployment in the store. Unordered: order belongs to the boot plan.
    async fn deployments(&self) -> Result<Vec<Deployment>>;

    /// The deployment that this kernel command line boots, if it is one of ours and exists.
    async fn booted(&self, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>>;

    /// Kernel and root arguments of a deployment.
    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts>;

    /// The files of a deployment, as the image has them.
    async fn tree(&self, id: &DeploymentId) -> Result<Box<dyn TreeReader>>;

    /// Deletes every deployment that is not in `keep`, and what only they needed.
    ///
    /// # Behaviour
    /// - Images fetched for deployments in `keep` stay complete; images that belong to none go.
    /// - `/var` is never touched.
    ///
    /// # Errors
    /// - `InvalidInput` for an empty `keep`: nothing is deleted.
    async fn retain(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed>;

    /// Takes off a pin of the store's own ([`Deployment::pinned_by_store`]).
    ///
    /// # Behaviour
    /// - Repeatable; nothing happens where there is none, or where the store's format has none.
    ///
    /// # Crash
    /// The pin is there or not.
    async fn unpin(&self, _id: &DeploymentId) -> Result<()> {
        Ok(())
    }

    /// Reads every object and compares it with its digest.
    async fn verify(&self, progress: &dyn Progress) -> Result<VerifyReport>;
}
