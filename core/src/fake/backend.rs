//! A storage backend in memory, and its disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    FakeFlaw, FakeImage, FakeImages,
    etc::{default_etc, default_var, merge},
    tree::FakeTree,
};
use crate::{
    backend::{FetchEstimate, StorageBackend},
    capability::BackendCapabilities,
    error::{Error, ErrorKind, Result},
    etc_merge::MergeReport,
    fs::Faults,
    model::{
        Blob, BootArtifacts, DeploySpec, Deployment, DeploymentId, Digest, ImageSummary, KernelArg,
        KernelArtifacts, KernelCmdline, PinnedImage, Progress, Removed, Stateroot, VerifyProblem,
        VerifyReport,
    },
    tree::{BlobSource, Reader, TreeReader},
};

/// What a fake store keeps across crashes.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) initialized: bool,
    pub(super) images: BTreeMap<Digest, FakeImage>,
    pub(super) deployments: BTreeMap<DeploymentId, Held>,
    /// The `/var` of each stateroot.
    pub(super) var: BTreeMap<Stateroot, BTreeMap<String, String>>,
    /// How often root arguments moved, where they do.
    pub(super) moves: u64,
    /// Up to which move root arguments no longer lead anywhere.
    pub(super) gone: u64,
    /// How often something looked for what nothing needs.
    pub(super) clean_ups: u64,
    /// Finalised, and nobody said that it was published.
    pub(super) unpublished: Option<DeploymentId>,
}

/// One deployment on the fake disk.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) deployment: Deployment,
    pub(super) image: FakeImage,
    merge_from: Option<DeploymentId>,
    /// The live `/etc`.
    pub(super) etc: BTreeMap<String, String>,
    /// What is wrong with its stored files.
    pub(super) damage: Option<String>,
}

/// A storage backend whose disk is a value in memory.
#[derive(Debug, Clone)]
pub struct FakeBackend {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) images: FakeImages,
    pub(super) faults: Faults,
    pub(super) capabilities: BackendCapabilities,
    pub(super) kernel_verifies: bool,
}

impl FakeBackend {
    /// What it can do unless a test says otherwise ([`super::FakeMachine::with`]).
    pub const CAPABILITIES: BackendCapabilities = BackendCapabilities {
        verified_root: true,
        offline_seal: false,
        predictable_root_args: true,
        root_filesystems: &[],
    };

    pub(super) fn locked(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, id: &DeploymentId) -> Result<Held> {
        let held = self.locked().deployments.get(id).cloned();
        held.ok_or_else(|| Error::not_found(format!("no deployment {id}")))
    }

    /// The only root argument: it names the tree. Where root arguments are not predictable, it also counts how often they moved.
    fn args_for(&self, id: &DeploymentId) -> Result<KernelCmdline> {
        let value = if self.capabilities.predictable_root_args {
            id.to_string()
        } else {
            format!("{}/{id}", self.locked().moves)
        };
        Ok([KernelArg::new(format!("fake={value}"))?].into_iter().collect())
    }

    /// The deployment that a root argument leads to, which must not have moved away for good.
    pub(super) fn find(&self, value: &str) -> Option<DeploymentId> {
        let (moves, id) = value.split_once('/').unwrap_or(("", value));
        let store = self.locked();
        let valid = moves.parse().map_or(moves.is_empty(), |moves: u64| moves >= store.gone);
        let id = DeploymentId::new(id).ok().filter(|_| valid)?;
        store.deployments.contains_key(&id).then_some(id)
    }

    fn embedded(&self, held: &Held) -> Result<KernelCmdline> {
        let own: KernelCmdline = held.image.embedded.parse()?;
        if !self.capabilities.predictable_root_args {
            return Ok(own);
        }
        Ok(self.args_for(&held.deployment.id)?.merged_with(&own))
    }
}

fn id_of(image: &FakeImage) -> Result<DeploymentId> {
    DeploymentId::new(image.digest().hex().get(..16).unwrap_or("short"))
}

/// Whether an image can be deployed at all.
fn bootable(image: &FakeImage) -> Result<()> {
    match (&image.kernel, image.flaw) {
        (None, _) => {
            Err(Error::invalid("the image has no kernel").with_hint("install one into /usr/lib/modules"))
        }
        (_, Some(FakeFlaw::TwoKernels)) => {
            Err(Error::invalid("the image has kernels of 2 versions").with_hint("remove one of them"))
        }
        (_, Some(FakeFlaw::ForeignRoot)) => Err(Error::integrity("the UKI names another root")),
        _ => Ok(()),
    }
}

#[async_trait]
impl BlobSource for FakeBackend {
    async fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        let known =
            self.locked().deployments.values().any(|held| held.image.kernel.as_ref() == Some(&blob.key));
        if !known {
            return Err(Error::not_found(format!("no blob {:?}", blob.key)));
        }
        Ok(Box::new(Cursor::new(blob.key.clone().into_bytes())))
    }
}

#[async_trait]
impl StorageBackend for FakeBackend {
    fn capabilities(&self) -> BackendCapabilities {
        self.capabilities
    }

    async fn initialize(&self) -> Result<()> {
        let can = self.capabilities;
        if can.verified_root && !can.offline_seal && !self.kernel_verifies {
            return Err(Error::unsupported(
                "this kernel cannot verify reads, and the store cannot be sealed later",
            )
            .with_hint("install with --allow-missing-verity"));
        }
        self.faults.before("make the fake store")?;
        self.locked().initialized = true;
        Ok(())
    }

    async fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate> {
        let missing = !self.locked().images.contains_key(&image.manifest_digest);
        let bytes = u64::from(missing);
        Ok(FetchEstimate { download: bytes, layers_missing: usize::from(missing), layers: 1, store: bytes })
    }

    async fn fetch(&self, image: &ImageSummary, _progress: &dyn Progress) -> Result<PinnedImage> {
        if !self.locked().initialized {
            return Err(Error::not_found("no fake store on this disk"));
        }
        let content = self
            .images
            .by_digest(&image.manifest_digest)
            .ok_or_else(|| Error::new(ErrorKind::Interrupted, "the image is gone"))?;
        if content.flaw == Some(FakeFlaw::Damaged) {
            return Err(Error::integrity("a layer does not match its digest"));
        }
        self.faults.before("store the fake image")?;
        self.locked().images.insert(image.manifest_digest.clone(), content);
        Ok(PinnedImage {
            reference: image.reference.clone(),
            manifest_digest: image.manifest_digest.clone(),
            version: image.version.clone(),
            created: None,
            architecture: image.architecture.clone(),
        })
    }

    async fn root_args(&self, image: &PinnedImage) -> Result<KernelCmdline> {
        let image = self.locked().images.get(&image.manifest_digest).cloned();
        self.args_for(&id_of(&image.ok_or_else(|| Error::not_found("the image was not fetched"))?)?)
    }

    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment> {
        let image = self.locked().images.get(&spec.image.manifest_digest).cloned();
        let image = image.ok_or_else(|| Error::not_found("the image was not fetched"))?;
        bootable(&image)?;
        let id = id_of(&image)?;
        if let Some(held) = self.locked().deployments.get(&id) {
            return Ok(held.deployment.clone());
        }
        let deployment = Deployment {
            id: id.clone(),
            stateroot: spec.stateroot.clone(),
            image: spec.image.clone(),
            origin: spec.origin.clone(),
            finalized: false,
            verified: self.capabilities.verified_root,
            pinned_by_store: false,
        };
        self.faults.before("make the fake deployment")?;
        let merge_from = spec.merge_from.clone();
        let etc = BTreeMap::new();
        let held = Held { deployment: deployment.clone(), image, merge_from, etc, damage: None };
        self.locked().deployments.insert(id, held);
        Ok(deployment)
    }

    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport> {
        let held = self.held(id)?;
        let new = default_etc(&held.image);
        let from = held.merge_from.as_ref().map(|from| self.held(from)).transpose()?;
        let merged = from.map(|from| merge(&default_etc(&from.image), &from.etc, &new));
        let (etc, report) = merged.unwrap_or((new, MergeReport::default()));
        self.faults.before("put the fake /etc in place")?;
        let mut store = self.locked();
        // Like links that count up: the arguments of all deployments change, and the old ones stay valid until `retain`.
        store.moves += 1;
        let seed = default_var(&held.image);
        store.var.entry(held.deployment.stateroot).or_insert(seed);
        if let Some(held) = store.deployments.get_mut(id) {
            held.etc = etc;
            held.deployment.finalized = true;
        }
        store.unpublished = Some(id.clone());
        Ok(report)
    }

    async fn published(&self) -> Result<()> {
        self.faults.before("note the publication in the fake store")?;
        self.locked().unpublished = None;
        Ok(())
    }

    async fn seal(&self, _notes: &Path) -> Result<()> {
        Ok(())
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        Ok(self.locked().deployments.values().map(|held| held.deployment.clone()).collect())
    }

    async fn booted(&self, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
        Ok(cmdline.values("fake").next().and_then(|value| self.find(value)))
    }

    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts> {
        let held = self.held(id)?;
        let text = held.image.kernel.clone().unwrap_or_default();
        let blob = Blob { size: text.len() as u64, sha256: Digest::of(&text), key: text };
        let root_args = self.args_for(id)?;
        let kernel = if held.image.unified {
            KernelArtifacts::Unified {
                kver: None,
                uki: blob,
                addons: Vec::new(),
                embedded: self.embedded(&held)?,
            }
        } else {
            KernelArtifacts::Split {
                kver: "1".to_owned(),
                kernel: blob,
                initrds: Vec::new(),
                devicetree: None,
            }
        };
        Ok(BootArtifacts { kernel, root_args })
    }

    async fn tree(&self, id: &DeploymentId) -> Result<Box<dyn TreeReader>> {
        Ok(Box::new(FakeTree(self.held(id)?.image.files)))
    }

    async fn retain(&self, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
        if keep.is_empty() {
            return Err(Error::invalid("refusing to delete every deployment"));
        }
        let doomed: Vec<_> =
            self.locked().deployments.keys().filter(|id| !keep.contains(id)).cloned().collect();
        let mut removed = Removed::default();
        for id in doomed {
            self.faults.before("delete a fake deployment")?;
            self.locked().deployments.remove(&id);
            removed.items.push(id.to_string());
        }
        let mut store = self.locked();
        store.gone = store.moves;
        store.clean_ups += 1;
        let used: BTreeSet<_> =
            store.deployments.values().map(|h| h.deployment.image.manifest_digest.clone()).collect();
        store.images.retain(|digest, _| used.contains(digest));
        Ok(removed)
    }

    async fn unpin(&self, id: &DeploymentId) -> Result<()> {
        self.faults.before("take a pin off in the fake store")?;
        if let Some(held) = self.locked().deployments.get_mut(id) {
            held.deployment.pinned_by_store = false;
        }
        Ok(())
    }

    async fn verify(&self, _progress: &dyn Progress) -> Result<VerifyReport> {
        let store = self.locked();
        let problem = |(id, held): (&DeploymentId, &Held)| {
            let problem = held.damage.clone()?;
            Some(VerifyProblem { path: format!("object of {id}"), problem, deployments: vec![id.clone()] })
        };
        let problems = store.deployments.iter().filter_map(problem).collect();
        Ok(VerifyReport { checked: store.images.len() as u64, problems })
    }
}
