//! A machine in memory: one disk, opened as often as needed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{FakeBackend, FakeImage, FakeImages, FakeLoader, backend::Store, loader::Partition};
use crate::{
    engine::{Engine, Parts, StateStore},
    error::Result,
    fs::{Faults, Root},
    model::{DeploymentId, ImageReference, KernelCmdline, NoProgress},
    transport::policy::ImagePolicy,
};

/// A disk in memory, with the command line that is running. Core's own records are real files in a temporary folder.
#[derive(Debug)]
pub struct FakeMachine {
    store: Arc<Mutex<Store>>,
    partition: Arc<Mutex<Partition>>,
    images: FakeImages,
    state: tempfile::TempDir,
    running: KernelCmdline,
    policy: ImagePolicy,
    boots: u32,
}

impl FakeMachine {
    /// An empty machine.
    ///
    /// # Errors
    /// If there is no room for a temporary folder.
    pub fn new() -> Result<Self> {
        let state =
            tempfile::tempdir().map_err(|source| crate::Error::io("make a temporary folder", source))?;
        Ok(Self {
            store: Arc::default(),
            partition: Arc::default(),
            images: FakeImages::default(),
            state,
            running: KernelCmdline::new(),
            policy: ImagePolicy::none(),
            boots: 0,
        })
    }

    /// Makes `reference` name `image`.
    pub fn publish_image(&self, reference: &ImageReference, image: FakeImage) {
        self.images.publish(reference, image);
    }

    /// Makes this the policy that decides which images are let in; at first, all are.
    pub fn set_policy(&mut self, policy: ImagePolicy) {
        self.policy = policy;
    }

    /// How many boot entries fit on the fake partition from now on.
    pub fn limit_entries(&self, capacity: usize) {
        self.partition.lock().unwrap_or_else(PoisonError::into_inner).capacity = capacity;
    }

    /// The storage backend, seen through this fault plan.
    pub fn backend(&self, faults: &Faults) -> FakeBackend {
        FakeBackend { store: Arc::clone(&self.store), images: self.images.clone(), faults: faults.clone() }
    }

    /// The bootloader, seen through this fault plan.
    pub fn loader(&self, faults: &Faults) -> FakeLoader {
        FakeLoader { partition: Arc::clone(&self.partition), faults: faults.clone() }
    }

    /// An engine on this machine whose every mutation is counted by `faults`.
    ///
    /// # Errors
    /// If the temporary folder is gone.
    pub fn engine(&self, faults: &Faults) -> Result<Engine> {
        Ok(Engine::new(Parts {
            backend: Arc::new(self.backend(faults)),
            loader: Arc::new(self.loader(faults)),
            state: StateStore::new(Root::open(self.state.path(), faults.clone())?),
            images: Arc::new(self.images.clone()),
            policy: self.policy.clone(),
            running_cmdline: self.running.clone(),
            boot_id: format!("boot-{}", self.boots),
            progress: Arc::new(NoProgress),
            patience: std::time::Duration::ZERO,
        }))
    }

    /// Boots what the fake loader prefers and returns it; `None` if nothing boots.
    ///
    /// Independent of `read()`: it looks at the partition as a firmware would.
    pub async fn boot(&mut self) -> Result<Option<DeploymentId>> {
        use crate::Bootloader as _;
        let state = self.loader(&Faults::none()).read().await?;
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |id: &DeploymentId| store.deployments.contains_key(id);
        let chosen = state
            .entries
            .iter()
            .find(|e| e.tries_left != Some(0) && e.problem.is_none() && whole(&e.deployment));
        self.boots += 1;
        self.running = chosen.and_then(|entry| entry.cmdline.clone()).unwrap_or_default();
        Ok(chosen.map(|entry| entry.deployment.clone()))
    }

    /// Changes a file in the live `/etc` of a deployment.
    pub fn edit_etc(&self, id: &DeploymentId, path: &str, text: &str) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = store.deployments.get_mut(id) {
            held.etc.insert(path.to_owned(), text.to_owned());
        }
    }

    /// The live `/etc` of a deployment.
    pub fn etc(&self, id: &DeploymentId) -> BTreeMap<String, String> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.deployments.get(id).map(|held| held.etc.clone()).unwrap_or_default()
    }
}
