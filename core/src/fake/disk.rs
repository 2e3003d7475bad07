//! The disk of a fake machine from outside: what is on it, damage, foreign entries, copies.

use std::{collections::BTreeMap, path::Path};

use super::{FakeImage, FakeMachine, backend::Store, loader::Partition};
use crate::{
    error::{IoContext, Result},
    fs::{Faults, ReplaceStyle, Root},
    model::{DeploymentId, ImageReference, KernelCmdline},
};

/// A copy of a fake machine's disk and of what runs.
#[derive(Debug, Clone)]
pub struct FakeCheckpoint {
    store: Store,
    partition: Partition,
    images: BTreeMap<ImageReference, FakeImage>,
    state: BTreeMap<String, Vec<u8>>,
    running: KernelCmdline,
    boots: u32,
}

/// One boot entry on the fake partition, as a firmware sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeSeen {
    /// Its name.
    pub name: String,
    /// Its command line; empty for a foreign one.
    pub cmdline: String,
    /// Its kernel.
    pub kernel: Vec<u8>,
    /// Tries left.
    pub tries: Option<u32>,
    /// Made by another program.
    pub foreign: bool,
}

impl FakeMachine {
    /// Everything on the disk, by name.
    ///
    /// # Errors
    /// If the temporary folder cannot be read.
    pub fn disk(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        let store = self.store();
        all.insert("store".to_owned(), format!("{} {} {}", store.initialized, store.moves, store.gone));
        all.extend(store.images.keys().map(|digest| (format!("image {digest}"), String::new())));
        all.extend(
            store.deployments.iter().map(|(id, held)| (format!("deployment {id}"), format!("{held:?}"))),
        );
        all.extend(store.var.iter().map(|(name, var)| (format!("/var of {name}"), format!("{var:?}"))));
        let partition = self.partition();
        let order = (&partition.generation, &partition.order, &partition.one_shot);
        all.insert("boot order".to_owned(), format!("{order:?}"));
        all.extend(
            partition.files.iter().map(|(id, entry)| (format!("boot entry {id}"), format!("{entry:?}"))),
        );
        all.extend(partition.foreign.iter().map(|(name, text)| (format!("foreign {name}"), text.clone())));
        for (path, bytes) in read_folder(self.state.path())? {
            all.insert(format!("state {path}"), String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(all)
    }

    /// What firmware shows, the default first. Entries whose tries are used up come last.
    pub fn seen(&self) -> Vec<FakeSeen> {
        let partition = self.partition();
        let ours = partition.order.iter().filter_map(|id| {
            let entry = partition.files.get(id)?;
            let (cmdline, kernel) = (entry.cmdline.to_string(), entry.kernel.clone());
            Some(FakeSeen { name: id.to_string(), cmdline, kernel, tries: entry.tries, foreign: false })
        });
        let mut all: Vec<_> = ours.collect();
        all.sort_by_key(|entry| entry.tries == Some(0));
        let foreign = partition.foreign.iter().map(|(name, text)| FakeSeen {
            name: name.clone(),
            cmdline: String::new(),
            kernel: text.clone().into_bytes(),
            tries: None,
            foreign: true,
        });
        all.extend(foreign);
        all
    }

    /// Adds a boot entry that another program made.
    pub fn add_foreign(&self, name: &str) {
        self.partition().foreign.insert(name.to_owned(), "another system".to_owned());
    }

    /// Damages the stored files of a deployment in this way.
    pub fn damage_tree(&self, id: &DeploymentId, problem: &str) {
        if let Some(held) = self.store().deployments.get_mut(id) {
            held.damage = Some(problem.to_owned());
        }
    }

    /// Truncates the kernels of a deployment's boot entries.
    pub fn damage_kernel(&self, id: &DeploymentId) {
        let mut partition = self.partition();
        partition.files.values_mut().filter(|e| &e.deployment == id).for_each(|entry| entry.kernel.clear());
    }

    /// A copy of the disk and of what runs.
    ///
    /// # Errors
    /// If the temporary folder cannot be read.
    pub fn checkpoint(&self) -> Result<FakeCheckpoint> {
        Ok(FakeCheckpoint {
            store: self.store().clone(),
            partition: self.partition().clone(),
            images: self.images.all(),
            state: read_folder(self.state.path())?,
            running: self.running.clone(),
            boots: self.boots,
        })
    }

    /// Back to a copy.
    ///
    /// # Errors
    /// If the temporary folder cannot be written.
    pub fn restore(&mut self, copy: &FakeCheckpoint) -> Result<()> {
        *self.store() = copy.store.clone();
        *self.partition() = copy.partition.clone();
        self.images.replace(copy.images.clone());
        self.running = copy.running.clone();
        self.boots = copy.boots;
        let root = Root::open(self.state.path(), Faults::none())?;
        let now = read_folder(self.state.path())?;
        for path in now.keys().filter(|path| !copy.state.contains_key(*path)) {
            root.remove_file(path)?;
        }
        let mut changed = copy.state.iter().filter(|(path, bytes)| now.get(*path) != Some(bytes));
        changed.try_for_each(|(path, bytes)| root.replace(path, bytes, ReplaceStyle::Relaxed))
    }
}

/// Files below a folder by relative path, the lock left out.
fn read_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        let what = || format!("read {}", next.display());
        for entry in std::fs::read_dir(&next).context_io(what)? {
            let entry = entry.context_io(what)?;
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            if entry.file_type().context_io(what)?.is_dir() {
                left.push(path);
            } else if !name.ends_with("lock") {
                all.insert(name, std::fs::read(&path).context_io(what)?);
            }
        }
    }
    Ok(all)
}
