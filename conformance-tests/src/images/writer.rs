//! Writes OCI image layout folders, right ones and, for tests of bad input, wrong ones.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    cache::{Blob, BlobStore},
    entry::Entry,
    layer::{Layer, write_layer},
    oci::OciImage,
};

/// Media type of a layer as this writer makes them.
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Writes an image of some layers as an OCI image layout folder.
///
/// Blobs go into a store that several layouts share, and appear in the layout as hard links. The folder
/// appears whole or not at all: it is filled under another name first.
#[derive(Debug)]
pub struct OciLayoutWriter {
    store: BlobStore,
    layers: Vec<Layer>,
    labels: BTreeMap<String, String>,
    architecture: String,
}

impl OciLayoutWriter {
    /// An image without layers, for the machine's own architecture.
    pub fn new(store: &BlobStore) -> Self {
        Self {
            store: store.clone(),
            layers: Vec::new(),
            labels: BTreeMap::new(),
            architecture: oci_architecture().to_owned(),
        }
    }

    /// An image that starts with the layers, labels and architecture of `base`.
    pub fn from_image(base: &OciImage, store: &BlobStore) -> Result<Self> {
        let mut writer = Self::new(store);
        writer.layers = base.layers()?;
        writer.labels = base.labels()?;
        writer.architecture = base.architecture()?;
        for layer in &writer.layers {
            let path = store.path(&layer.blob.sha256);
            if !path.exists() {
                fs::copy(base.blob_path(&layer.blob.sha256), path)?;
            }
        }
        Ok(writer)
    }

    /// Adds a layer that is in the store already.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Writes `entries` as a further layer.
    pub fn entries(mut self, entries: Vec<Entry>) -> Result<Self> {
        self.layers.push(write_layer(entries, &self.store)?);
        Ok(self)
    }

    /// Sets a label of the image's configuration.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the architecture that the configuration claims, in OCI's (that is Go's) words: `amd64`, `arm64`.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// Writes the layout folder `dir` with the image under `tag`. An older folder of that name is replaced.
    pub fn finish(self, dir: &Path, tag: &str) -> Result<OciImage> {
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        let staging = tempfile::Builder::new().prefix(".layout-").tempdir_in(parent)?;
        self.fill(staging.path(), tag)?;
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("cannot replace {}", dir.display()))?;
        }
        fs::set_permissions(staging.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::rename(staging.keep(), dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(OciImage::new(dir, tag))
    }

    fn fill(&self, dir: &Path, tag: &str) -> Result<()> {
        let config = self.store.put(&json_bytes(&self.config())?)?;
        let manifest = self.store.put(&json_bytes(&self.manifest(&config))?)?;
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        for blob in self.layers.iter().map(|layer| &layer.blob).chain([&config, &manifest]) {
            self.store.link(&blob.sha256, &blobs.join(&blob.sha256))?;
        }
        fs::write(dir.join("index.json"), json_bytes(&index(&manifest, tag))?)?;
        fs::write(dir.join("oci-layout"), json_bytes(&json!({ "imageLayoutVersion": "1.0.0" }))?)?;
        Ok(())
    }

    fn config(&self) -> Value {
        let diff_ids: Vec<String> = self.layers.iter().map(|l| format!("sha256:{}", l.diff_id)).collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": { "Labels": self.labels, "Cmd": ["/sbin/init"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
    }

    fn manifest(&self, config: &Blob) -> Value {
        let layers: Vec<Value> = self.layers.iter().map(|l| descriptor(&l.blob, LAYER_TYPE)).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": layers,
        })
    }
}

/// The machine's architecture in OCI's words.
pub(super) fn oci_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn index(manifest: &Blob, tag: &str) -> Value {
    let mut entry = descriptor(manifest, "application/vnd.oci.image.manifest.v1+json");
    if let Some(object) = entry.as_object_mut() {
        object.insert("annotations".into(), json!({ "org.opencontainers.image.ref.name": tag }));
    }
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry] })
}

fn descriptor(blob: &Blob, media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest(), "size": blob.size })
}

fn json_bytes(value: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// The folder for an image's layout inside `dir`, or where it would be.
pub(super) fn layout_path(dir: &Path, name: &str, key: &str) -> PathBuf {
    dir.join(format!("{name}-{key}"))
}
