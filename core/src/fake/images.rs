//! Images in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::loader::LOADER_BINARY;
use crate::{
    engine::ImageLookup,
    error::{Error, Result},
    model::{Digest, ImageReference, ImageSummary, LayerSummary},
};

/// What an image in memory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FakeImage {
    /// Version label.
    pub version: String,
    /// Files by path, `/etc` included.
    pub files: BTreeMap<String, String>,
    /// Kernel content; `None` makes an image that cannot boot.
    pub kernel: Option<String>,
    /// Whether the kernel is a UKI.
    pub unified: bool,
    /// Arguments inside the UKI, besides the root arguments where those are predictable.
    pub embedded: String,
    /// What is wrong with it.
    pub flaw: Option<FakeFlaw>,
}

/// What can be wrong with an image in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeFlaw {
    /// It has a second kernel version.
    TwoKernels,
    /// It is for another processor architecture.
    WrongArchitecture,
    /// Its UKI names another root.
    ForeignRoot,
    /// Its bytes do not match its digest.
    Damaged,
}

impl FakeImage {
    /// An image that boots, with one file in `/usr` and one in `/etc`.
    pub fn bootable(version: &str) -> Self {
        let files = [("usr/marker", version), ("etc/default", version), (LOADER_BINARY, "1")];
        Self {
            version: version.to_owned(),
            files: files.map(|(path, text)| (path.to_owned(), text.to_owned())).into(),
            kernel: Some(format!("kernel {version}")),
            ..Self::default()
        }
    }

    /// Its manifest digest: a digest of all that it holds.
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{self:?}"))
    }
}

/// A registry in memory: names to images, changed by tests at will.
#[derive(Debug, Clone, Default)]
pub struct FakeImages(Arc<Mutex<BTreeMap<ImageReference, FakeImage>>>);

impl FakeImages {
    /// Makes `reference` name `image` from now on.
    pub fn publish(&self, reference: &ImageReference, image: FakeImage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.clone(), image);
    }

    /// All of it.
    pub(super) fn all(&self) -> BTreeMap<ImageReference, FakeImage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it all that there is.
    pub(super) fn replace(&self, all: BTreeMap<ImageReference, FakeImage>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// The image that has this manifest digest.
    pub(super) fn by_digest(&self, digest: &Digest) -> Option<FakeImage> {
        let images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        images.values().find(|image| &image.digest() == digest).cloned()
    }
}

#[async_trait]
impl ImageLookup for FakeImages {
    async fn look_up(&self, reference: &ImageReference) -> Result<ImageSummary> {
        let image = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(reference).cloned();
        let image = image.ok_or_else(|| Error::not_found(format!("no image {reference}")))?;
        if image.flaw == Some(FakeFlaw::WrongArchitecture) {
            return Err(Error::unsupported("the image is for s390x, this machine is amd64"));
        }
        let layer = LayerSummary { digest: image.digest(), diff_id: image.digest(), size: 1 };
        Ok(ImageSummary {
            reference: reference.clone(),
            manifest_digest: image.digest(),
            architecture: "amd64".to_owned(),
            version: Some(image.version),
            created: None,
            layers: vec![layer],
        })
    }
}
