//! A bootloader in memory, and its boot partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    bootloader::{Bootloader, Staged},
    capability::BootloaderCapabilities,
    error::{Error, ErrorKind, IoContext, Result},
    fs::Faults,
    model::{
        BootPlan, BootState, DeploymentId, Digest, EntryId, EntrySpec, KernelArtifacts, KernelCmdline,
        PlannedEntry, PublishedEntry, Removed, SpaceNeed, VerifyProblem, VerifyReport,
    },
    tree::{BlobSource, TreeReader},
};

const PLACE: &str = "the fake partition";
/// What an image must have to be installed with this loader.
pub(super) const LOADER_BINARY: &str = "usr/lib/fake-loader";

/// What a fake boot partition keeps across crashes.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) generation: u64,
    pub(super) order: Vec<EntryId>,
    pub(super) files: BTreeMap<EntryId, FakeEntry>,
    /// How many distinct kernels fit.
    pub(super) capacity: usize,
    /// Boots next time, and only then.
    pub(super) one_shot: Option<EntryId>,
    /// Entries of other programs.
    pub(super) foreign: BTreeMap<String, String>,
    next: u64,
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            generation: 0,
            order: Vec::new(),
            files: BTreeMap::new(),
            capacity: usize::MAX,
            one_shot: None,
            foreign: BTreeMap::new(),
            next: 0,
        }
    }
}

/// One entry on the fake partition.
#[derive(Debug, Clone)]
pub(super) struct FakeEntry {
    pub(super) deployment: DeploymentId,
    title: String,
    version: Option<String>,
    pub(super) cmdline: KernelCmdline,
    pub(super) tries: Option<u32>,
    pub(super) started: u32,
    pub(super) kernel: Vec<u8>,
    pub(super) digest: Digest,
}

/// A bootloader whose partition is a value in memory.
#[derive(Debug, Clone)]
pub struct FakeLoader {
    pub(super) partition: Arc<Mutex<Partition>>,
    pub(super) faults: Faults,
    pub(super) capabilities: BootloaderCapabilities,
}

impl FakeLoader {
    /// What it can do unless a test says otherwise ([`super::FakeMachine::with`]).
    pub const CAPABILITIES: BootloaderCapabilities = BootloaderCapabilities {
        split_kernels: true,
        unified_kernels: true,
        addons: false,
        boot_counting: true,
        one_shot: false,
    };

    /// Changes one bit of the kernel that an entry of this deployment boots.
    pub fn damage_kernel(&self, deployment: &DeploymentId) {
        let mut partition = self.locked();
        let of = partition.files.values_mut().filter(|entry| &entry.deployment == deployment);
        of.filter_map(|entry| entry.kernel.first_mut()).for_each(|byte| *byte ^= 1);
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, Partition> {
        self.partition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_entry(&self, spec: &EntrySpec, blobs: &dyn BlobSource) -> Result<EntryId> {
        let mut kernel = Vec::new();
        for blob in spec.artifacts.kernel.blobs() {
            blobs
                .open_blob(blob)
                .await?
                .read_to_end(&mut kernel)
                .context_io(|| "copy the kernel".to_owned())?;
        }
        self.faults.before("write a fake boot entry")?;
        let mut partition = self.locked();
        let shared = partition.kernels().contains(kernel.as_slice());
        if !shared && partition.kernels().len() >= partition.capacity {
            return Err(Error::new(ErrorKind::NoSpace, "the fake partition is full"));
        }
        partition.next += 1;
        let id = EntryId::new(format!("entry-{}", partition.next))?;
        let entry = FakeEntry {
            deployment: spec.deployment.clone(),
            title: spec.title.clone(),
            version: spec.version.clone(),
            cmdline: match &spec.artifacts.kernel {
                KernelArtifacts::Split { .. } => spec.full_cmdline(),
                KernelArtifacts::Unified { embedded, .. } => embedded.merged_with(&spec.extra_args),
            },
            tries: spec.tries,
            started: 0,
            digest: Digest::of(&kernel),
            kernel,
        };
        partition.files.insert(id.clone(), entry);
        Ok(id)
    }
}

/// Digests of the kernels that a plan adds.
fn kernels_of(plan: &BootPlan) -> impl Iterator<Item = Digest> {
    plan.added().filter_map(|spec| spec.artifacts.kernel.blobs().first().map(|blob| blob.sha256.clone()))
}

/// What a commit makes true.
#[derive(Debug)]
struct Switch {
    order: Vec<EntryId>,
    one_shot: Option<EntryId>,
}

impl Partition {
    /// What boots: the first in order that has not failed all its tries.
    fn first(&self) -> Option<&EntryId> {
        let failed = |id: &&EntryId| self.files.get(*id).is_some_and(|entry| entry.tries == Some(0));
        self.order.iter().find(|id| !failed(id)).or(self.order.first())
    }

    /// What a sweep removes.
    fn doomed(&self, keep: &BTreeSet<DeploymentId>) -> Vec<EntryId> {
        let default = self.first();
        let needed = |id: &EntryId, entry: &FakeEntry| {
            Some(id) == default || (self.order.contains(id) && keep.contains(&entry.deployment))
        };
        self.files.iter().filter(|(id, entry)| !needed(id, entry)).map(|(id, _)| id.clone()).collect()
    }

    /// Distinct kernels: entries with equal ones share the file.
    pub(super) fn kernels(&self) -> BTreeSet<&[u8]> {
        self.files.values().map(|entry| entry.kernel.as_slice()).collect()
    }

    fn published(&self, id: &EntryId) -> Option<PublishedEntry> {
        let entry = self.files.get(id)?;
        Some(PublishedEntry {
            id: id.clone(),
            deployment: entry.deployment.clone(),
            title: entry.title.clone(),
            version: entry.version.clone(),
            cmdline: Some(entry.cmdline.clone()),
            tries_left: entry.tries,
            tries_done: entry.tries.map(|_| entry.started),
            problem: entry.kernel.is_empty().then(|| "the kernel is empty".to_owned()),
        })
    }
}

#[async_trait]
impl Bootloader for FakeLoader {
    fn capabilities(&self) -> BootloaderCapabilities {
        self.capabilities
    }

    async fn install(&self, tree: &dyn TreeReader) -> Result<()> {
        let binary = tree.open(LOADER_BINARY).await?;
        binary.map(drop).ok_or_else(|| Error::not_found(format!("the image has no {LOADER_BINARY}")))
    }

    async fn read(&self) -> Result<BootState> {
        let partition = self.locked();
        let mut entries: Vec<_> = partition.order.iter().filter_map(|id| partition.published(id)).collect();
        // As firmware chooses: what failed all its tries comes last.
        entries.sort_by_key(|entry| entry.tries_left == Some(0));
        Ok(BootState {
            generation: partition.generation,
            entries,
            one_shot: partition.one_shot.clone(),
            foreign: partition.foreign.keys().cloned().collect(),
            ..BootState::default()
        })
    }

    async fn reclaimable(
        &self,
        keep: &BTreeSet<DeploymentId>,
        plan: &BootPlan,
    ) -> Result<BTreeMap<String, u64>> {
        let partition = self.locked();
        let doomed = partition.doomed(keep);
        let stays =
            |(id, entry): (&EntryId, &FakeEntry)| (!doomed.contains(id)).then(|| entry.digest.clone());
        let staying = partition.files.iter().filter_map(stays);
        let needed: BTreeSet<_> = staying.chain(kernels_of(plan)).collect();
        let freed = doomed.iter().filter_map(|id| partition.files.get(id)).map(|entry| &entry.digest);
        let freed = freed.filter(|digest| !needed.contains(*digest)).collect::<BTreeSet<_>>().len();
        Ok(BTreeMap::from([(PLACE.to_owned(), freed as u64)]))
    }

    async fn space_needed(&self, plan: &BootPlan) -> Result<Vec<SpaceNeed>> {
        let partition = self.locked();
        let kernels = partition.kernels();
        let present: BTreeSet<_> = kernels.iter().map(Digest::of).collect();
        let needed =
            kernels_of(plan).filter(|digest| !present.contains(digest)).collect::<BTreeSet<_>>().len();
        let available = partition.capacity.saturating_sub(kernels.len());
        Ok(vec![SpaceNeed { place: PLACE.to_owned(), needed: needed as u64, available: available as u64 }])
    }

    async fn stage(
        &self,
        plan: &BootPlan,
        blobs: &dyn BlobSource,
        _tree: Option<&dyn TreeReader>,
    ) -> Result<Staged> {
        let mut order = Vec::new();
        for entry in &plan.entries {
            order.push(match entry {
                PlannedEntry::Keep(id) if self.locked().files.contains_key(id) => id.clone(),
                PlannedEntry::Keep(id) => return Err(Error::not_found(format!("no boot entry {id}"))),
                PlannedEntry::Add(spec) => self.write_entry(spec, blobs).await?,
            });
        }
        let token = Switch { order, one_shot: plan.one_shot.clone() };
        Ok(Staged::new(plan, token))
    }

    async fn commit(&self, staged: Staged) -> Result<()> {
        let generation = staged.generation;
        let switch: Switch = staged.into_token()?;
        self.faults.before("switch the fake boot order")?;
        let mut partition = self.locked();
        partition.order = switch.order;
        partition.one_shot = switch.one_shot;
        partition.generation = generation;
        Ok(())
    }

    async fn remove_unfinished(&self) -> Result<()> {
        Ok(())
    }

    async fn sweep(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        if keep.is_empty() {
            return Err(Error::invalid("refusing to delete every boot entry"));
        }
        let doomed = self.locked().doomed(keep);
        let mut removed = Removed::default();
        for id in doomed {
            self.faults.before("delete a fake boot entry")?;
            let mut partition = self.locked();
            partition.order.retain(|other| other != &id);
            partition.files.remove(&id);
            removed.items.push(id.to_string());
        }
        Ok(removed)
    }

    async fn verify(&self) -> Result<VerifyReport> {
        let partition = self.locked();
        let damaged = partition.files.iter().filter(|(_, entry)| Digest::of(&entry.kernel) != entry.digest);
        let problem = |(id, entry): (&EntryId, &FakeEntry)| VerifyProblem {
            path: id.to_string(),
            problem: "the kernel is damaged".to_owned(),
            deployments: vec![entry.deployment.clone()],
        };
        Ok(VerifyReport { checked: partition.files.len() as u64, problems: damaged.map(problem).collect() })
    }

    async fn confirm(&self, deployment: &DeploymentId) -> Result<()> {
        let counted = |entry: &FakeEntry| &entry.deployment == deployment && entry.tries.is_some();
        if self.locked().files.values().any(counted) {
            self.faults.before("confirm a fake boot entry")?;
            self.locked().files.values_mut().filter(|e| counted(e)).for_each(|entry| entry.tries = None);
        }
        Ok(())
    }
}
