//! A repository in a temporary folder, and what is found in it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use bootwright_core::{
    error::Result,
    fs::{Faults, Root},
    model::{ImageSummary, PinnedImage, Progress, ProgressEvent},
};

use super::layout::{self, Layer};
use crate::{
    fetch,
    repo::{self, Store},
};

/// A physical root with an empty repository, and a place for images.
pub struct Host {
    pub folder: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        // Not on tmpfs, which has no attributes of users in older kernels.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::create_dir(folder.path().join("sysroot")).unwrap();
        let host = Self { folder };
        repo::initialize(&host.store().sysroot).unwrap();
        host
    }

    pub fn store(&self) -> Store {
        self.store_with(Faults::none())
    }

    pub fn store_with(&self, faults: Faults) -> Store {
        Store::new(Root::open(self.folder.path().join("sysroot"), faults).unwrap())
    }

    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("sysroot/ostree/repo")
    }

    pub fn images(&self, name: &str) -> PathBuf {
        self.folder.path().join("images").join(name)
    }

    pub fn image<const N: usize>(&self, name: &str, layers: [Layer; N]) -> ImageSummary {
        layout::write(&self.images(name), name, &layers.map(Layer::tar))
    }

    pub async fn fetch(&self, image: &ImageSummary) -> Result<PinnedImage> {
        fetch::fetch(&self.store(), image, &Recorder::default()).await
    }

    /// Fetches, and checks the image out.
    pub async fn fetched(&self, image: &ImageSummary) -> PathBuf {
        self.fetch(image).await.unwrap();
        self.checkout(image)
    }

    pub fn commit(&self, image: &ImageSummary) -> Option<String> {
        fetch::image_commit(&self.store().open().unwrap(), &image.manifest_digest).unwrap()
    }

    /// The image's tree as libostree checks it out.
    pub fn checkout(&self, image: &ImageSummary) -> PathBuf {
        let to = self.folder.path().join("checkouts").join(image.manifest_digest.hex());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        self.ostree(&["checkout", &self.commit(image).unwrap(), to.to_str().unwrap()]);
        to
    }

    pub fn ostree(&self, arguments: &[&str]) -> String {
        let repo = format!("--repo={}", self.repo().display());
        let output = Command::new("ostree").arg(repo).args(arguments).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        out.into_owned()
    }

    pub fn refs(&self) -> BTreeSet<String> {
        self.ostree(&["refs"]).lines().map(str::to_owned).collect()
    }

    /// Content and metadata objects.
    pub fn objects(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for shard in std::fs::read_dir(self.repo().join("objects")).unwrap() {
            found.extend(std::fs::read_dir(shard.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
        found
    }
}

/// What is below a folder: relative paths, without the folder itself.
pub fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(std::result::Result::unwrap) {
            found.insert(entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    found
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
    /// Layers that were transferred, and layers that were there.
    pub fn layers(&self) -> (usize, usize) {
        let events = self.0.lock().unwrap();
        let finished = |wanted: bool| {
            let is = |event: &&ProgressEvent| matches!(event, ProgressEvent::Finished { skipped, .. } if *skipped == wanted);
            events.iter().filter(is).count()
        };
        (finished(false), finished(true))
    }
}
