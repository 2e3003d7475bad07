//! Writes OCI image layouts of a few hundred bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::{Digest, ImageReference};

pub(super) const OCI: [&str; 3] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
];
pub(super) const DOCKER: [&str; 3] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// A layout in a temporary folder, gone when dropped.
#[derive(Debug)]
pub(super) struct Layout {
    folder: tempfile::TempDir,
    entries: Vec<Value>,
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(super) fn fake_digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

impl Layout {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { folder, entries: Vec::new() }
    }

    pub(super) fn with_one_image() -> Self {
        let mut layout = Self::new();
        let image = layout.image("amd64", OCI);
        layout.tag("v1", image);
        layout
    }

    /// Stores a document and returns its descriptor.
    pub(super) fn store(&self, media_type: &str, document: &Value) -> Value {
        let bytes = serde_json::to_vec(document).unwrap();
        let digest = digest_of(&bytes);
        fs::write(self.blob(&digest), &bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub(super) fn image(&self, architecture: &str, types: [&str; 3]) -> Value {
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2025-01-02T03:04:05Z",
            "config": {"Labels": {"org.opencontainers.image.version": "42"}},
            "rootfs": {"type": "layers", "diff_ids": [fake_digest("d")]},
        });
        self.image_with(&config, types)
    }

    pub(super) fn image_with(&self, config: &Value, types: [&str; 3]) -> Value {
        let config_descriptor = self.store(types[1], config);
        let layer = json!({"mediaType": types[2], "digest": fake_digest("b"), "size": 1234});
        let manifest = json!({"schemaVersion": 2, "config": config_descriptor, "layers": [layer]});
        self.store(types[0], &manifest)
    }

    /// A list of images, one for each architecture.
    pub(super) fn list(&self, architectures: &[&str]) -> Value {
        let entry = |architecture: &&str| {
            let mut image = self.image(architecture, OCI);
            image["platform"] = json!({"architecture": architecture, "os": "linux"});
            image
        };
        let manifests: Vec<_> = architectures.iter().map(entry).collect();
        self.store(
            "application/vnd.oci.image.index.v1+json",
            &json!({"schemaVersion": 2, "manifests": manifests}),
        )
    }

    pub(super) fn tag(&mut self, tag: &str, mut descriptor: Value) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        self.entry(descriptor);
    }

    pub(super) fn entry(&mut self, descriptor: Value) {
        self.entries.push(descriptor);
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    /// Digest of the first entry of the index.
    pub(super) fn manifest(&self) -> &str {
        self.entries[0]["digest"].as_str().unwrap()
    }

    /// Digest of the configuration of the image with this manifest.
    pub(super) fn config_of(&self, manifest: &str) -> String {
        let manifest: Value = serde_json::from_slice(&fs::read(self.blob(manifest)).unwrap()).unwrap();
        manifest["config"]["digest"].as_str().unwrap().to_owned()
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.path().join("blobs").join(digest.replace(':', "/"))
    }

    pub(super) fn reference(&self, tag: &str) -> ImageReference {
        format!("oci:{}:{tag}", self.path().display()).parse().unwrap()
    }

    pub(super) fn untagged(&self) -> ImageReference {
        format!("oci:{}", self.path().display()).parse().unwrap()
    }

    /// The layout as a tar file, named by an `oci-archive:` reference.
    pub(super) fn archive(&self, to: &Path, tag: &str) -> ImageReference {
        let mut tar = tar::Builder::new(fs::File::create(to).unwrap());
        tar.append_dir_all(".", self.path()).unwrap();
        tar.finish().unwrap();
        format!("oci-archive:{}:{tag}", to.display()).parse().unwrap()
    }
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::new(text).unwrap()
}
