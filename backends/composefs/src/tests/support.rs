//! A sysroot in a temporary folder, and short ways through the backend.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bootwright_core::{
    StorageBackend,
    context::{BackendContext, Sealing},
    error::Result,
    fs::{Faults, Root},
    model::{
        DeploySpec, Deployment, DeploymentId, Digest, ImageSummary, LayerSummary, PinnedImage, Progress,
        ProgressEvent, Stateroot,
    },
    registry::{self, Verity},
};

use super::image::{Image, put};

/// A sysroot and a place for images.
#[derive(Debug)]
pub struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sysroot")).unwrap();
        Self { folder }
    }

    /// A sysroot with an empty store.
    pub async fn initialized() -> Self {
        let host = Self::new();
        host.backend().initialize().await.unwrap();
        host
    }

    pub fn sysroot(&self) -> PathBuf {
        self.folder.path().join("sysroot")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.sysroot().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn context(&self) -> BackendContext {
        self.context_with(Faults::none())
    }

    pub fn context_with(&self, faults: Faults) -> BackendContext {
        BackendContext {
            sysroot: Root::open(self.sysroot(), faults).unwrap(),
            running_root: None,
            stateroot: Stateroot::default(),
            verity: Verity::Optional,
            sealing: Sealing::Now,
        }
    }

    /// The backend as a binary finds it.
    pub fn backend(&self) -> Arc<dyn StorageBackend> {
        Self::open(self.context())
    }

    pub fn open(context: BackendContext) -> Arc<dyn StorageBackend> {
        (registry::backend("composefs").unwrap().open)(context).unwrap()
    }

    pub fn images(&self, name: &str) -> PathBuf {
        self.folder.path().join("images").join(name)
    }

    /// Writes an image below this host.
    pub fn image(&self, name: &str, image: &Image) -> ImageSummary {
        image.write(&self.images(name))
    }

    /// Writes an image as `v1`, with one more layer: this blob, which unpacks to something with this digest.
    pub fn with_layer(&self, blob: &[u8], diff_id: &Digest) -> ImageSummary {
        let (image, folder) = (Image::bootable("1"), self.images("v1"));
        let mut layers = image.write(&folder).layers;
        let (digest, size) = (put(&folder, blob), blob.len() as u64);
        layers.push(LayerSummary { digest, diff_id: diff_id.clone(), size });
        image.finish(&folder, layers)
    }

    pub async fn fetch(&self, image: &ImageSummary) -> Result<PinnedImage> {
        self.backend().fetch(image, &Recorder::default()).await
    }

    pub async fn prepare(
        &self,
        image: &PinnedImage,
        merge_from: Option<&DeploymentId>,
    ) -> Result<Deployment> {
        self.backend().prepare(&spec(image, merge_from)).await
    }

    /// From an image to a finalised deployment.
    pub async fn deploy(&self, image: &ImageSummary, merge_from: Option<&DeploymentId>) -> Deployment {
        let pinned = self.fetch(image).await.unwrap();
        let deployment = self.prepare(&pinned, merge_from).await.unwrap();
        self.backend().finalize(&deployment.id).await.unwrap();
        deployment
    }

    /// Path of a deployment's `/etc`.
    pub fn etc(id: &DeploymentId) -> String {
        let root = id.as_str().split('-').next().unwrap();
        format!("state/deploy/{root}/etc")
    }
}

pub fn spec(image: &PinnedImage, merge_from: Option<&DeploymentId>) -> DeploySpec {
    DeploySpec {
        image: image.clone(),
        origin: "docker://example.invalid/os:latest".parse().unwrap(),
        stateroot: Stateroot::default(),
        merge_from: merge_from.cloned(),
    }
}

/// Keeps events.
#[derive(Debug, Default)]
pub struct Recorder(pub Mutex<Vec<ProgressEvent>>);

impl Progress for Recorder {
    fn report(&self, event: ProgressEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    /// Bytes that were transferred.
    pub fn transferred(&self) -> u64 {
        let events = self.0.lock().unwrap();
        let started = events.iter().filter_map(|event| match event {
            ProgressEvent::Started { total, .. } => *total,
            _ => None,
        });
        started.sum()
    }
}

/// Every file below `folder` with its content, for comparing before and after.
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.map(Result::<_, std::io::Error>::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push((entry.path(), std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}
