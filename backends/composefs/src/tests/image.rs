//! Small OCI layouts for tests.

use std::{io::Write as _, path::Path};

use bootwright_core::model::{Digest, ImageSummary, LayerSummary};
use serde_json::json;

/// One entry of a layer.
#[derive(Debug, Clone)]
pub enum Entry {
    Folder(&'static str),
    File(&'static str, Vec<u8>),
    Mode(&'static str, Vec<u8>, u32, u64),
    Link(&'static str, &'static str),
}

/// An image under construction.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub layers: Vec<Vec<Entry>>,
    pub version: &'static str,
    pub plain: bool,
}

/// Bytes that do not fit into an inode.
pub fn big(seed: &str) -> Vec<u8> {
    seed.as_bytes().iter().copied().cycle().take(5000).collect()
}

impl Image {
    /// The folders that every image has, a kernel, and a few files in `/etc` and `/var`.
    pub fn bootable(version: &'static str) -> Self {
        let mut image = Self { version, ..Self::default() }.base(version);
        image.layers.push(vec![
            Entry::Folder("usr/lib/modules/6.1.0"),
            Entry::File("usr/lib/modules/6.1.0/vmlinuz", big("kernel ")),
            Entry::File("usr/lib/modules/6.1.0/initramfs.img", big("initrd ")),
        ]);
        image
    }

    /// The same without a kernel.
    pub fn base(mut self, version: &'static str) -> Self {
        let folders =
            ["usr", "usr/lib", "usr/lib/modules", "etc", "etc/app", "var", "var/lib", "boot", "sysroot"];
        let mut layer: Vec<_> = folders.into_iter().map(Entry::Folder).collect();
        layer
            .push(Entry::File("usr/lib/os-release", format!("ID=test\nVERSION_ID={version}\n").into_bytes()));
        layer.push(Entry::Link("etc/os-release", "../usr/lib/os-release"));
        layer.push(Entry::File("etc/app/default.conf", format!("version={version}\n").into_bytes()));
        layer.push(Entry::Mode("etc/shadow", b"root:*:\n".to_vec(), 0o640, 42));
        layer.push(Entry::File("etc/big.conf", big("setting ")));
        layer.push(Entry::File("var/lib/seeded", b"from the image\n".to_vec()));
        self.layers.push(layer);
        self
    }

    /// One more layer.
    pub fn layer(mut self, entries: Vec<Entry>) -> Self {
        self.layers.push(entries);
        self
    }

    /// Writes the layout, and tells what an inspection of it would.
    pub fn write(&self, folder: &Path) -> ImageSummary {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        let mut layers = Vec::new();
        for entries in &self.layers {
            let tar = tar_of(entries);
            let blob = if self.plain { tar.clone() } else { gzip(&tar) };
            let digest = put(folder, &blob);
            layers.push(LayerSummary { digest, diff_id: Digest::of(&tar), size: blob.len() as u64 });
        }
        self.finish(folder, layers)
    }

    /// Writes configuration, manifest and index for layers that are there already.
    pub fn finish(&self, folder: &Path, layers: Vec<LayerSummary>) -> ImageSummary {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": { "Labels": { "org.opencontainers.image.version": self.version } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let media_type = if self.plain { "tar" } else { "tar+gzip" };
        let describe = |layer: &LayerSummary| {
            json!({ "mediaType": format!("application/vnd.oci.image.layer.v1.{media_type}"),
                    "digest": layer.digest.as_str(), "size": layer.size })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json",
                        "digest": put(folder, &config).as_str(), "size": config.len() },
            "layers": layers.iter().map(describe).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let manifest_digest = put(folder, &manifest);
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json",
                            "digest": manifest_digest.as_str(), "size": manifest.len() }],
        });
        std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        ImageSummary {
            reference: format!("oci:{}", folder.display()).parse().unwrap(),
            manifest_digest,
            architecture: "amd64".to_owned(),
            version: Some(self.version.to_owned()),
            created: Some("2026-01-01T00:00:00Z".to_owned()),
            layers,
        }
    }
}

/// Stores a blob under its digest.
pub fn put(folder: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    std::fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    digest
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let (path, content): (&str, &[u8]) = match entry {
            Entry::Folder(path) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                (path, &[])
            }
            Entry::File(path, content) => {
                header.set_mode(0o644);
                (path, content)
            }
            Entry::Mode(path, content, mode, gid) => {
                header.set_mode(*mode);
                header.set_gid(*gid);
                (path, content)
            }
            Entry::Link(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, path, target).unwrap();
                continue;
            }
        };
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    }
    tar.into_inner().unwrap()
}
