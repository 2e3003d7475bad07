//! A tiny operating system image, written by hand, and the program under test.

#![allow(dead_code, reason = "shared by test programs that each use a part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use sha2::Digest as _;

/// An OCI layout with one image in it.
pub struct TinyImage {
    /// The folder around it.
    pub folder: tempfile::TempDir,
    /// Digest of its first layer.
    pub layer: String,
    /// Digests of all layers.
    pub layers: Vec<String>,
    /// The last layer of each version, if the loader needs one.
    parts: Option<Vec<u8>>,
}

/// Size of the kernel in bytes, unless a test wants another.
pub const KERNEL: usize = 3 << 20;

impl TinyImage {
    /// A system with kernel, initramfs and loader.
    pub fn new() -> Self {
        Self::with(KERNEL, "amd64")
    }

    /// The same with a kernel of this size, for this architecture. Without a kernel if the size is 0.
    pub fn with(kernel: usize, architecture: &str) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), vec![layer(kernel, "1")], None, architecture)
    }

    /// The same with whatever this loader makes its program of.
    pub fn for_loader(loader: &str) -> Self {
        let parts = (loader == "grub2").then(grub_modules);
        Self::in_folder(tempfile::tempdir().unwrap(), vec![layer(KERNEL, "1")], parts, "amd64")
    }

    /// Another version, with further layers of these sizes. Takes the place of the one before under the same name.
    pub fn replace(self, version: &str, more: &[usize]) -> Self {
        let extra = more.iter().enumerate().map(|(n, size)| extra_layer(version, n, *size));
        let layers: Vec<_> = std::iter::once(layer(KERNEL, version)).chain(extra).collect();
        Self::in_folder(self.folder, layers, self.parts, "amd64")
    }

    fn in_folder(
        folder: tempfile::TempDir,
        mut tars: Vec<Vec<u8>>,
        parts: Option<Vec<u8>>,
        architecture: &str,
    ) -> Self {
        tars.extend(parts.clone());
        let layers: Vec<_> = tars.iter().map(|tar| blob(folder.path(), tar)).collect();
        let described = layers.iter().zip(&tars).map(|(layer, tar)| descriptor("layer", layer, tar.len()));
        let described: Vec<_> = described.collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": layers},
            "history": [],
        });
        let config_text = serde_json::to_vec(&config).unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config", &blob(folder.path(), &config_text), config_text.len()),
            "layers": described,
        });
        let manifest_text = serde_json::to_vec(&manifest).unwrap();
        let mut entry = descriptor("manifest", &blob(folder.path(), &manifest_text), manifest_text.len());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { folder, layer: layers[0].clone(), layers, parts }
    }

    /// How the program is told about it.
    pub fn reference(&self) -> String {
        format!("oci:{}:v1", self.folder.path().display())
    }

    /// The file that holds its layer.
    pub fn layer_file(&self) -> PathBuf {
        blob_path(self.folder.path(), &self.layer)
    }
}

fn descriptor(kind: &str, digest: &str, size: usize) -> Value {
    let media = match kind {
        "config" => "application/vnd.oci.image.config.v1+json",
        "layer" => "application/vnd.oci.image.layer.v1.tar",
        _ => "application/vnd.oci.image.manifest.v1+json",
    };
    json!({"mediaType": media, "digest": digest, "size": size})
}

fn blob(layout: &Path, content: &[u8]) -> String {
    let digest = format!("sha256:{:x}", sha2::Sha256::digest(content));
    let path = blob_path(layout, &digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    digest
}

fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// A layer with GRUB's modules for UEFI, those of this machine.
fn grub_modules() -> Vec<u8> {
    const FOLDER: &str = "usr/lib/grub/x86_64-efi";
    let mut builder = tar::Builder::new(Vec::new());
    for entry in fs::read_dir(Path::new("/").join(FOLDER)).expect("the package grub-efi-amd64-bin") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_module = path.extension().is_some_and(|end| end == "mod");
        if is_module || ["moddep.lst", "kernel.img"].contains(&name) {
            let content = fs::read(&path).unwrap();
            append(&mut builder, tar::EntryType::Regular, &format!("{FOLDER}/{name}"), &content, 0o644);
        }
    }
    builder.into_inner().unwrap()
}

/// A layer with one file of noise.
fn extra_layer(version: &str, number: usize, size: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let content: Vec<u8> =
        format!("{version}-{number}-").into_bytes().into_iter().cycle().take(size).collect();
    append(&mut builder, tar::EntryType::Regular, &format!("usr/extra-{number}"), &content, 0o644);
    builder.into_inner().unwrap()
}

fn layer(kernel: usize, version: &str) -> Vec<u8> {
    let noise =
        |size: usize| (0..size).map(|n| u8::try_from((n * 2_654_435_761) >> 13 & 0xff).unwrap()).collect();
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        (
            "usr/lib/os-release",
            format!("ID=tiny\nPRETTY_NAME=\"Tiny OS {version}\"\nVERSION_ID={version}\n").into_bytes(),
        ),
        ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", b"MZ loader".to_vec()),
        ("usr/lib/systemd/boot/efi/linuxx64.efi.stub", bootwright_core::uki::synthetic::stub()),
        ("usr/lib/bootc/install/10-tiny.toml", b"[install]\nkargs = [\"from-install-config\"]\n".to_vec()),
        ("etc/motd", b"hello\n".to_vec()),
        ("var/lib/seed", b"seed\n".to_vec()),
    ];
    if kernel > 0 {
        // A program for EFI, as far as anybody looks.
        let content: Vec<u8> = noise(kernel);
        let kernel = bootwright_core::uki::synthetic::image(&[(".text", &content)]);
        files.push(("usr/lib/modules/6.1.0-tiny/vmlinuz", kernel));
        files.push(("usr/lib/modules/6.1.0-tiny/initramfs.img", noise(1 << 20)));
    }
    let mut builder = tar::Builder::new(Vec::new());
    let empty = ["boot", "sysroot", "proc", "sys", "dev", "run", "tmp", "usr/lib/modules"];
    let parents = |path: &str| -> Vec<String> {
        Path::new(path).ancestors().map(|p| p.display().to_string()).filter(|p| !p.is_empty()).collect()
    };
    let mut folders: Vec<_> = files.iter().flat_map(|(path, _)| parents(path).split_off(1)).collect();
    folders.extend(empty.iter().flat_map(|path| parents(path)));
    folders.sort();
    folders.dedup();
    for folder in folders {
        append(&mut builder, tar::EntryType::Directory, &format!("{folder}/"), &[], 0o755);
    }
    for (path, content) in files {
        append(&mut builder, tar::EntryType::Regular, path, &content, 0o644);
    }
    builder.into_inner().unwrap()
}

fn append(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content).unwrap();
}

/// Runs the program under test.
pub fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bootwright")).args(args).output().unwrap()
}

/// What it said on standard error.
pub fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs another program and returns what it printed.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("MTOOLS_SKIP_CHECK", "1").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// SHA-256 of a file.
pub fn hash(path: &Path) -> String {
    let mut hash = sha2::Sha256::new();
    std::io::copy(&mut fs::File::open(path).unwrap(), &mut hash).unwrap();
    format!("{:x}", hash.finalize())
}
