//! Small OCI layouts: layers are given as tar streams.

use std::{io::Write as _, path::Path};

use bootwright_core::model::{Digest, ImageSummary, LayerSummary};
use serde_json::json;

/// A layer under construction.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn add(
        mut self,
        path: &str,
        kind: tar::EntryType,
        (mode, uid, gid): (u32, u64, u64),
        link: &str,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            self.0.append_data(&mut header, path, content).unwrap();
        } else {
            self.0.append_link(&mut header, path, link).unwrap();
        }
        self
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.add(path, tar::EntryType::Regular, (0o644, 0, 0), "", content)
    }

    pub fn owned(self, path: &str, content: &[u8], mode: u32, uid: u64, gid: u64) -> Self {
        self.add(path, tar::EntryType::Regular, (mode, uid, gid), "", content)
    }

    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.add(path, tar::EntryType::Directory, (mode, 0, 0), "", &[])
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.add(path, tar::EntryType::Symlink, (0o777, 0, 0), target, &[])
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.add(path, tar::EntryType::Link, (0o644, 0, 0), target, &[])
    }

    pub fn device(self, path: &str) -> Self {
        self.add(path, tar::EntryType::Char, (0o600, 0, 0), "", &[])
    }

    pub fn fifo(self, path: &str) -> Self {
        self.add(path, tar::EntryType::Fifo, (0o600, 0, 0), "", &[])
    }

    /// PAX records for the entry that follows.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&[(&format!("SCHILY.xattr.{name}"), value)])
    }

    /// An entry whose name is written as it is, whatever it is.
    pub fn raw(mut self, name: &[u8], kind: u8, link: &[u8], content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name);
        bytes[156] = kind;
        bytes[157..157 + link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Writes a layout of these layers, gzip-compressed, and tells what an inspection of it would.
pub fn write(folder: &Path, version: &str, tars: &[Vec<u8>]) -> ImageSummary {
    std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    let layer = |tar: &Vec<u8>| {
        let blob = gzip(tar);
        LayerSummary { digest: put(folder, &blob), diff_id: Digest::of(tar), size: blob.len() as u64 }
    };
    let layers: Vec<_> = tars.iter().map(layer).collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": { "Labels": { "org.opencontainers.image.version": version } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    let describe = |layer: &LayerSummary| {
        json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer.digest.as_str(), "size": layer.size })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": put(folder, config.as_bytes()).as_str(), "size": config.len() },
        "layers": layers.iter().map(describe).collect::<Vec<_>>(),
    })
    .to_string();
    let manifest_digest = put(folder, manifest.as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": manifest_digest.as_str(), "size": manifest.len() }] });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    ImageSummary {
        reference: format!("oci:{}", folder.display()).parse().unwrap(),
        manifest_digest,
        architecture: "amd64".to_owned(),
        version: Some(version.to_owned()),
        created: Some("2026-01-01T00:00:00Z".to_owned()),
        layers,
    }
}

/// The file that holds a blob.
pub fn blob(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

fn put(folder: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    std::fs::write(blob(folder, &digest), bytes).unwrap();
    digest
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
