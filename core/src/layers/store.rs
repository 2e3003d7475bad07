//! [`LayerStore`]: layers of images as files, each by the digest of what it unpacks to.
//!
//! ```text
//! <folder>/layers/<diff id>.tar       one layer, not compressed
//! <folder>/images/<manifest>.json     the layers of an image; written last, so that it stands for a whole image
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
};

use super::{LayerTree, Span};
use crate::{
    backend::FetchEstimate,
    blobs::{self, Documents, Events, LayerSpec, Source},
    error::{Error, Result},
    fs::{ReplaceStyle, Root},
    image_kernel::{ImageFile, ImageFiles},
    model::{Blob, Digest, ImageSummary, PinnedImage, Progress, Removed},
    process::blocking,
    tree::Reader,
};

/// A folder of layers and of notes which of them an image consists of.
#[derive(Debug, Clone)]
pub struct LayerStore {
    root: Root,
    folder: String,
}

/// An image in the store.
#[derive(Debug)]
pub struct StoredImage {
    /// Its files. The numbers of layers in their spans are places in `layers`.
    pub tree: LayerTree,
    /// Its layers' names in the store, the lowest first.
    pub layers: Vec<String>,
}

/// A layer that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProblem {
    /// Its path below the root.
    pub path: String,
    /// What is wrong with it.
    pub problem: &'static str,
    /// The images that need it, by manifest.
    pub images: Vec<Digest>,
}

impl LayerStore {
    /// The store in `folder` of `root`. Touches nothing.
    pub fn new(root: Root, folder: impl Into<String>) -> Self {
        Self { root, folder: folder.into() }
    }

    /// Makes its folders. Repeatable.
    pub fn initialize(&self) -> Result<()> {
        self.root.create_dir_all(&self.layers())?;
        self.root.create_dir_all(&self.images())
    }

    /// What fetching an image would cost.
    pub fn estimate(&self, image: &ImageSummary) -> Result<FetchEstimate> {
        blobs::estimate(image, |layer| Ok(self.root.exists(&self.layer(layer.diff_id.hex()))))
    }

    /// Brings every layer of an image into the store; those that are there are not transferred again.
    ///
    /// # Errors
    /// Those of [`Source`], and of the disk.
    ///
    /// # Crash
    /// Leaves whole layers, which a repeated fetch uses, and perhaps a temporary file.
    pub async fn fetch(&self, image: &ImageSummary, progress: &dyn Progress) -> Result<PinnedImage> {
        blobs::follow(progress, async |events| self.fetch_all(image, events).await).await?;
        Ok(image.into())
    }

    async fn fetch_all(&self, image: &ImageSummary, events: &Events) -> Result<()> {
        let source = Source::open(image).await?;
        let documents = Documents::read(&source, &image.manifest_digest).await?;
        for (index, spec) in documents.layers.iter().enumerate() {
            if self.root.exists(&self.layer(spec.diff_id.hex())) {
                events.skipped(spec.digest.as_str());
            } else {
                self.fetch_one(&source, index, spec, events).await?;
            }
        }
        let layers: Vec<_> = documents.layers.iter().map(|layer| layer.diff_id.hex()).collect();
        self.root.write_json(&self.note(&image.manifest_digest), &layers)
    }

    async fn fetch_one(
        &self,
        source: &Source,
        index: usize,
        spec: &LayerSpec,
        events: &Events,
    ) -> Result<()> {
        let progress = events.layer(spec.digest.as_str(), spec.size.unwrap_or_default());
        let (sender, mut unpacked) = blobs::stream();
        let (root, path) = (self.root.clone(), self.layer(spec.diff_id.hex()));
        let writing = blocking(move || root.copy_to_temporary(&path, &mut unpacked));
        let (read, written) = tokio::join!(source.layer(index, spec.clone(), progress, sender), writing);
        // If the stream was wanted to its end, what the source says of a damaged layer is more exact than that it broke off.
        let (progress, (temporary, _)) = match (read, written) {
            (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
            (Ok(progress), Ok(written)) => (progress, written),
        };
        self.root.move_into_place(&temporary, &self.layer(spec.diff_id.hex()), ReplaceStyle::Durable)?;
        progress.finish();
        Ok(())
    }

    /// An image of the store. Reads the headers of all its layers: may block.
    ///
    /// # Errors
    /// `NotFound` if it is not there, or not wholly; `Integrity` if a layer is missing; `InvalidInput` for a malformed layer.
    pub fn open(&self, manifest: &Digest) -> Result<StoredImage> {
        let layers = self.layers_of(manifest)?;
        let files: Result<Vec<File>> = layers.iter().map(|layer| self.open_layer(layer)).collect();
        Ok(StoredImage { tree: LayerTree::read(files?)?, layers })
    }

    fn open_layer(&self, layer: &str) -> Result<File> {
        let missing = || Error::integrity(format!("layer {layer} of the image is missing in the store"));
        self.root.open_file(&self.layer(layer))?.ok_or_else(missing)
    }

    fn layers_of(&self, manifest: &Digest) -> Result<Vec<String>> {
        let layers = self.root.read_json(&self.note(manifest))?;
        layers.ok_or_else(|| Error::not_found(format!("the image {manifest} is not in the store")))
    }

    /// Opens a blob whose key came from a [`StoredImage`].
    ///
    /// # Errors
    /// `NotFound` if the store does not have it.
    pub fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        let foreign = || Error::not_found(format!("{:?} is not a blob of this store", blob.key));
        let (layer, span) = read_key(&blob.key).ok_or_else(foreign)?;
        let file = self.root.open_file(&self.layer(layer.hex()))?.ok_or_else(foreign)?;
        Ok(span.open(&file.into()))
    }

    /// Deletes every image but those with these manifests, and the layers that only they had; notes of whole images go before the
    /// layers that make them whole.
    pub fn retain(&self, keep: &BTreeSet<Digest>) -> Result<Removed> {
        let mut needed: BTreeSet<String> = keep.iter().map(|manifest| self.note(manifest)).collect();
        for manifest in keep {
            needed.extend(self.layers_of(manifest)?.iter().map(|layer| self.layer(layer)));
        }
        let mut removed = Removed::default();
        for folder in [self.images(), self.layers()] {
            for name in self.root.list(&folder)? {
                let path = format!("{folder}/{name}");
                if !needed.contains(&path) {
                    removed.bytes += self.root.size_of(&path)?.unwrap_or_default();
                    self.root.remove_file(&path)?;
                }
            }
            self.root.sync_filesystem()?;
        }
        Ok(removed)
    }

    /// Reads every layer of these images and compares it with its name. Returns how many there are, and which are wrong.
    pub fn verify(&self, manifests: &BTreeSet<Digest>) -> Result<(u64, Vec<LayerProblem>)> {
        let mut layers: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
        for manifest in manifests {
            for layer in self.layers_of(manifest)? {
                layers.entry(layer).or_default().push(manifest.clone());
            }
        }
        let count = layers.len() as u64;
        let mut problems = Vec::new();
        for (layer, images) in layers {
            let path = self.layer(&layer);
            problems.extend(digest_problem(&self.root, &path, &layer)?.map(|problem| LayerProblem {
                path,
                problem,
                images,
            }));
        }
        Ok((count, problems))
    }

    fn layers(&self) -> String {
        format!("{}/layers", self.folder)
    }

    fn images(&self) -> String {
        format!("{}/images", self.folder)
    }

    fn layer(&self, hex: &str) -> String {
        format!("{}/layers/{hex}.tar", self.folder)
    }

    fn note(&self, manifest: &Digest) -> String {
        format!("{}/images/{}.json", self.folder, manifest.hex())
    }
}

/// Compares a file with the SHA-256 that its name promises; for stores whose files are named by content.
pub fn digest_problem(root: &Root, path: &str, hex: &str) -> Result<Option<&'static str>> {
    Ok(match root.sha256_of(path)? {
        Some(digest) if digest.hex() == hex => None,
        Some(_) => Some("is damaged: its content does not have the digest in its name"),
        None => Some("is missing"),
    })
}

/// Layer, offset and size from the key of a blob.
fn read_key(key: &str) -> Option<(Digest, Span)> {
    let (layer, span) = key.split_once('/')?;
    let (offset, size) = span.split_once('/')?;
    let layer = Digest::new(format!("sha256:{layer}")).ok()?;
    Some((layer, Span { layer: 0, offset: offset.parse().ok()?, size: size.parse().ok()? }))
}

impl ImageFiles for StoredImage {
    fn names(&self, folder: &str) -> Result<Vec<String>> {
        Ok(self.tree.names(folder))
    }

    fn is_file(&self, path: &str) -> Result<bool> {
        Ok(self.tree.file(path).is_some())
    }

    fn open(&self, path: &str) -> Result<Option<ImageFile>> {
        let Some(span) = self.tree.file(path) else { return Ok(None) };
        let layer = self.layers.get(span.layer).map_or("", String::as_str);
        let key = format!("{layer}/{}/{}", span.offset, span.size);
        Ok(Some(ImageFile { key, size: span.size, reader: self.tree.open(&span)? }))
    }
}
