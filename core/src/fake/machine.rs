//! A machine in memory: one disk, opened as often as needed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{FakeBackend, FakeImage, FakeImages, FakeLoader, backend::Store, loader::Partition};
use crate::{
    capability::{BackendCapabilities, BootloaderCapabilities},
    engine::{Engine, Parts, StateStore},
    error::Result,
    fs::{Faults, Root},
    model::{DeploymentId, EntryId, ImageReference, KernelCmdline, NoProgress},
    transport::policy::ImagePolicy,
    wrap,
};

/// A disk in memory, with the command line that is running. Core's own records are real files in a temporary folder.
#[derive(Debug)]
pub struct FakeMachine {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) partition: Arc<Mutex<Partition>>,
    pub(super) images: FakeImages,
    pub(super) state: tempfile::TempDir,
    pub(super) running: KernelCmdline,
    pub(super) boots: u32,
    backend: BackendCapabilities,
    loader: BootloaderCapabilities,
    kernel_verifies: bool,
    policy: ImagePolicy,
}

impl FakeMachine {
    /// An empty machine whose plugins have their usual capabilities.
    ///
    /// # Errors
    /// If there is no room for a temporary folder.
    pub fn new() -> Result<Self> {
        Self::with(FakeBackend::CAPABILITIES, FakeLoader::CAPABILITIES)
    }

    /// An empty machine whose plugins can do exactly this. With `predictable_root_args: false`, each finalisation moves the root
    /// arguments of all deployments; the old ones lead somewhere until `retain`.
    ///
    /// # Errors
    /// If there is no room for a temporary folder.
    pub fn with(backend: BackendCapabilities, loader: BootloaderCapabilities) -> Result<Self> {
        let state =
            temporary_folder().map_err(|source| crate::Error::io("make a temporary folder", source))?;
        Ok(Self {
            store: Arc::default(),
            partition: Arc::default(),
            images: FakeImages::default(),
            state,
            running: KernelCmdline::new(),
            policy: ImagePolicy::none(),
            boots: 0,
            backend,
            loader,
            kernel_verifies: true,
        })
    }

    /// The same on a host whose kernel cannot verify: a store that must be verified needs `offline_seal` there.
    #[must_use]
    pub fn on_a_kernel_without_verity(mut self) -> Self {
        self.kernel_verifies = false;
        self
    }

    /// Makes `reference` name `image`.
    pub fn publish_image(&self, reference: &ImageReference, image: FakeImage) {
        self.images.publish(reference, image);
    }

    /// Makes this the policy that decides which images are let in; at first, all are.
    pub fn set_policy(&mut self, policy: ImagePolicy) {
        self.policy = policy;
    }

    /// How many distinct kernels fit on the fake partition from now on.
    pub fn limit_entries(&self, capacity: usize) {
        self.partition().capacity = capacity;
    }

    /// How many distinct kernels are on the fake partition.
    pub fn kernels(&self) -> usize {
        self.partition().kernels().len()
    }

    /// The storage backend, seen through this fault plan.
    pub fn backend(&self, faults: &Faults) -> FakeBackend {
        FakeBackend {
            store: Arc::clone(&self.store),
            images: self.images.clone(),
            faults: faults.clone(),
            capabilities: self.backend,
            kernel_verifies: self.kernel_verifies,
        }
    }

    /// The bootloader, seen through this fault plan.
    pub fn loader(&self, faults: &Faults) -> FakeLoader {
        let partition = Arc::clone(&self.partition);
        FakeLoader { partition, faults: faults.clone(), capabilities: self.loader }
    }

    /// An engine on this machine whose every mutation is counted by `faults`.
    ///
    /// # Errors
    /// If the temporary folder is gone.
    pub fn engine(&self, faults: &Faults) -> Result<Engine> {
        Ok(Engine::new(Parts {
            backend: wrap::backend("fake", Arc::new(self.backend(faults))),
            loader: wrap::loader("fake", Arc::new(self.loader(faults))),
            state: StateStore::new(Root::open(self.state.path(), faults.clone())?),
            images: Arc::new(self.images.clone()),
            policy: self.policy.clone(),
            running_cmdline: self.running.clone(),
            boot_id: format!("boot-{}", self.boots),
            progress: Arc::new(NoProgress),
            // Another thread of a test may be starting a program, which shares the lock's file until it is on its own.
            patience: std::time::Duration::from_secs(1),
        }))
    }

    /// Boots what a firmware would find on the partition, and returns it; `None` if nothing boots. Counts down its tries.
    ///
    /// Independent of the plugins: it looks at the disk alone.
    #[expect(clippy::unused_async, reason = "a boot is waited for, whatever the machine is made of")]
    pub async fn boot(&mut self) -> Result<Option<DeploymentId>> {
        let chosen = self.choose();
        self.boots += 1;
        let mut partition = self.partition.lock().unwrap_or_else(PoisonError::into_inner);
        partition.one_shot = None;
        let entry = chosen.as_ref().and_then(|id| partition.files.get_mut(id));
        if let Some(entry) = entry {
            entry.tries = entry.tries.map(|tries| tries.saturating_sub(1));
            entry.started += 1;
        }
        let entry = chosen.as_ref().and_then(|id| partition.files.get(id));
        self.running = entry.map(|entry| entry.cmdline.clone()).unwrap_or_default();
        Ok(entry.map(|entry| entry.deployment.clone()))
    }

    /// The one-shot entry, else the first in order that has tries left; each only if kernel and tree are there.
    fn choose(&self) -> Option<EntryId> {
        let backend = self.backend(&Faults::none());
        let partition = self.partition();
        let starts = |id: &&EntryId| {
            let Some(entry) = partition.files.get(*id) else { return false };
            let root = entry.cmdline.values("fake").next().and_then(|value| backend.find(value));
            root.as_ref() == Some(&entry.deployment) && !entry.kernel.is_empty()
        };
        let fresh = |id: &&EntryId| partition.files.get(*id).is_none_or(|entry| entry.tries != Some(0));
        let exhausted = partition.order.iter().filter(|id| !fresh(id));
        let order = partition.one_shot.iter().chain(partition.order.iter().filter(fresh)).chain(exhausted);
        order.into_iter().find(starts).cloned()
    }

    /// How many images are in the store, wholly or in part.
    pub fn images_held(&self) -> usize {
        self.store().images.len()
    }

    /// How often the store was searched for what nothing needs.
    pub fn clean_ups(&self) -> u64 {
        self.store().clean_ups
    }

    /// The deployment that was finalised last, unless the backend was told that it is published.
    pub fn unpublished(&self) -> Option<DeploymentId> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).unpublished.clone()
    }

    /// Pins a deployment as a program of the store's own would.
    pub fn pin_in_store(&self, id: &DeploymentId) {
        if let Some(held) = self.store().deployments.get_mut(id) {
            held.deployment.pinned_by_store = true;
        }
    }

    /// Changes a file in the live `/etc` of a deployment.
    pub fn edit_etc(&self, id: &DeploymentId, path: &str, text: &str) {
        self.change_etc(id, path, Some(text));
    }

    /// Changes or, with no text, removes a file in the live `/etc` of a deployment.
    pub fn change_etc(&self, id: &DeploymentId, path: &str, text: Option<&str>) {
        if let Some(held) = self.store().deployments.get_mut(id) {
            change(&mut held.etc, path, text);
        }
    }

    /// Changes or, with no text, removes a file in the `/var` of every stateroot.
    pub fn change_var(&self, path: &str, text: Option<&str>) {
        self.store().var.values_mut().for_each(|var| change(var, path, text));
    }

    /// The live `/etc` of a deployment.
    pub fn etc(&self, id: &DeploymentId) -> BTreeMap<String, String> {
        self.store().deployments.get(id).map(|held| held.etc.clone()).unwrap_or_default()
    }

    /// The `/var` that a deployment sees.
    pub fn var(&self, id: &DeploymentId) -> BTreeMap<String, String> {
        let store = self.store();
        let stateroot = store.deployments.get(id).map(|held| &held.deployment.stateroot);
        stateroot.and_then(|name| store.var.get(name)).cloned().unwrap_or_default()
    }

    /// The command line that runs.
    pub fn cmdline(&self) -> &KernelCmdline {
        &self.running
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn partition(&self) -> MutexGuard<'_, Partition> {
        self.partition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(files: &mut BTreeMap<String, String>, path: &str, text: Option<&str>) {
    match text {
        Some(text) => files.insert(path.to_owned(), text.to_owned()),
        None => files.remove(path),
    };
}

/// In memory where that is possible: the engine syncs its records, and a disk would make that slow.
fn temporary_folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}
