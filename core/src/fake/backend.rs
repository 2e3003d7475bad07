//! A storage backend in memory, and its disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{FakeImage, FakeImages, images::digest_of};
use crate::{
    backend::{FetchEstimate, StorageBackend},
    capability::BackendCapabilities,
    error::{Error, ErrorKind, Result},
    etc_merge::MergeReport,
    fs::Faults,
    model::{
        Blob, BootArtifacts, DeploySpec, Deployment, DeploymentId, Digest, ImageSummary, KernelArg,
        KernelArtifacts, KernelCmdline, PinnedImage, Progress, Removed, VerifyReport,
    },
    tree::{BlobSource, Reader, TreeReader},
};

/// What a fake store keeps across crashes.
#[derive(Debug, Default)]
pub(super) struct Store {
    initialized: bool,
    images: BTreeMap<Digest, FakeImage>,
    pub(super) deployments: BTreeMap<DeploymentId, Held>,
    /// Finalised, and nobody said that it was published.
    pub(super) unpublished: Option<DeploymentId>,
}

/// One deployment on the fake disk.
#[derive(Debug, Clone)]
pub(super) struct Held {
    deployment: Deployment,
    image: FakeImage,
    merge_from: Option<DeploymentId>,
    /// The live `/etc`.
    pub(super) etc: BTreeMap<String, String>,
}

/// A storage backend whose disk is a value in memory.
#[derive(Debug, Clone)]
pub struct FakeBackend {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) images: FakeImages,
    pub(super) faults: Faults,
}

impl FakeBackend {
    pub(super) fn locked(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, id: &DeploymentId) -> Result<Held> {
        let held = self.locked().deployments.get(id).cloned();
        held.ok_or_else(|| Error::not_found(format!("no deployment {id}")))
    }

    /// The only root argument: it names the tree.
    fn args_for(id: &DeploymentId) -> Result<KernelCmdline> {
        Ok([KernelArg::new(format!("fake={id}"))?].into_iter().collect())
    }
}

fn id_of(image: &FakeImage) -> Result<DeploymentId> {
    DeploymentId::new(image.digest().hex().get(..16).unwrap_or("short"))
}

fn default_etc(image: &FakeImage) -> BTreeMap<String, String> {
    let in_etc =
        |(path, text): (&String, &String)| Some((path.strip_prefix("etc/")?.to_owned(), text.clone()));
    image.files.iter().filter_map(in_etc).collect()
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
        BackendCapabilities {
            verified_root: true,
            offline_seal: false,
            predictable_root_args: true,
            root_filesystems: &[],
        }
    }

    async fn initialize(&self) -> Result<()> {
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
        Self::args_for(&id_of(&image.ok_or_else(|| Error::not_found("the image was not fetched"))?)?)
    }

    async fn prepare(&self, spec: &DeploySpec) -> Result<Deployment> {
        let image = self.locked().images.get(&spec.image.manifest_digest).cloned();
        let image = image.ok_or_else(|| Error::not_found("the image was not fetched"))?;
        if image.kernel.is_none() {
            return Err(
                Error::invalid("the image has no kernel").with_hint("install one into /usr/lib/modules")
            );
        }
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
            verified: true,
        };
        self.faults.before("make the fake deployment")?;
        let merge_from = spec.merge_from.clone();
        let held = Held { deployment: deployment.clone(), image, merge_from, etc: BTreeMap::new() };
        self.locked().deployments.insert(id, held);
        Ok(deployment)
    }

    async fn finalize(&self, id: &DeploymentId) -> Result<MergeReport> {
        let held = self.held(id)?;
        let mut etc = default_etc(&held.image);
        let mut report = MergeReport::default();
        if let Some(from) = &held.merge_from {
            let from = self.held(from)?;
            let base = default_etc(&from.image);
            for (path, text) in from.etc.iter().filter(|(path, text)| base.get(*path) != Some(*text)) {
                report.kept += 1;
                etc.insert(path.clone(), text.clone());
            }
        }
        self.faults.before("put the fake /etc in place")?;
        if let Some(held) = self.locked().deployments.get_mut(id) {
            held.etc = etc;
            held.deployment.finalized = true;
        }
        self.locked().unpublished = Some(id.clone());
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
        let named = cmdline.values("fake").next().and_then(|id| DeploymentId::new(id).ok());
        Ok(named.filter(|id| self.locked().deployments.contains_key(id)))
    }

    async fn boot_artifacts(&self, id: &DeploymentId) -> Result<BootArtifacts> {
        let held = self.held(id)?;
        let text = held.image.kernel.unwrap_or_default();
        let blob = Blob { size: text.len() as u64, sha256: digest_of(&text), key: text };
        let root_args = Self::args_for(id)?;
        let kernel = if held.image.unified {
            KernelArtifacts::Unified {
                kver: None,
                uki: blob,
                addons: Vec::new(),
                embedded: root_args.clone(),
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
        let used: BTreeSet<_> =
            store.deployments.values().map(|h| h.deployment.image.manifest_digest.clone()).collect();
        store.images.retain(|digest, _| used.contains(digest));
        Ok(removed)
    }

    async fn verify(&self, _progress: &dyn Progress) -> Result<VerifyReport> {
        Ok(VerifyReport { checked: self.locked().images.len() as u64, problems: Vec::new() })
    }
}

/// Files of a fake deployment.
#[derive(Debug)]
struct FakeTree(BTreeMap<String, String>);

#[async_trait]
impl TreeReader for FakeTree {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        let text = self.0.get(path).cloned();
        Ok(text.map(|text| Box::new(Cursor::new(text.into_bytes())) as Reader))
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let prefix = format!("{path}/");
        let mut names: Vec<_> = self
            .0
            .keys()
            .filter_map(|file| file.strip_prefix(&prefix)?.split('/').next().map(ToOwned::to_owned))
            .collect();
        names.dedup();
        Ok(names)
    }
}
