//! The base system: Debian 13 from packages, as one layer.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{
    cache::{Cache, Key},
    entry::IMAGE_TIME,
    layer::{Layer, LayerSink},
    oci::kernel_version_in,
    packages::{Packages, SUITE, mmdebstrap},
    writer::oci_architecture,
};
const ESSENTIAL_HOOK: &str = include_str!("scripts/essential.sh");
const CUSTOMIZE_HOOK: &str = include_str!("scripts/customize.sh");

/// Files of packages that a test image does without: they double its size.
const EXCLUDED: [&str; 18] = [
    "/etc/grub.d/*",
    "/etc/kernel/postinst.d/dracut",
    "/usr/lib/grub/*/monolithic/*",
    "/usr/lib/grub/i386-pc/*.image",
    "/usr/share/grub/*",
    "/usr/lib/udev/hwdb.d/*",
    "/usr/share/bash-completion/*",
    "/usr/share/bug/*",
    "/usr/share/doc/*",
    "/usr/share/gcc/*",
    "/usr/share/grub/*",
    "/usr/share/i18n/*",
    "/usr/share/info/*",
    "/usr/share/initramfs-tools/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zsh/*",
];

/// The packages of the base system. The cloud kernel has all that the tests need (file-backed EROFS,
/// fs-verity, overlayfs, virtio, vfat) at a tenth of the generic one's size.
pub(super) fn default_packages() -> Packages {
    let kernel = format!("linux-image-cloud-{}", oci_architecture());
    let names = "dracut e2fsprogs efibootmgr kmod login mount ostree ostree-boot systemd systemd-boot-efi systemd-boot-tools \
                 systemd-sysv udev util-linux zstd";
    let grub: &[&str] = match oci_architecture() {
        "amd64" => &["grub-common", "grub-efi-amd64-bin", "grub-pc-bin"],
        "arm64" => &["grub-common", "grub-efi-arm64-bin"],
        _ => &[],
    };
    let names = names.split_whitespace().chain(grub.iter().copied());
    Packages { names: names.map(str::to_owned).chain([kernel]).collect(), newer: Vec::new() }
}

/// The base system in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Base {
    /// Identifies what went in.
    pub key: String,
    pub layer: Layer,
    /// Version of the installed kernel.
    pub kernel: String,
}

/// Composes the base system from `packages`, or takes it from the cache.
pub(super) fn base(packages: &Packages, cache: &Cache) -> Result<Base> {
    let key = EXCLUDED.iter().fold(Key::default(), Key::add);
    let key = packages.add_to(key.add("packages"));
    let key = key.add(SUITE).add(oci_architecture()).add(ESSENTIAL_HOOK).add(CUSTOMIZE_HOOK).short();
    let complete = |base: &Base| cache.blobs().holds(&base.layer.blob);
    cache.remembered(&format!("base-{key}"), complete, || build(packages, &key, cache))
}

fn build(packages: &Packages, key: &str, cache: &Cache) -> Result<Base> {
    let folder = tempfile::Builder::new().prefix(".base-").tempdir_in(cache.dir())?;
    let tar = folder.path().join("base.tar");
    install(packages, &tar, cache)?;
    cache.say("packing the base layer");
    let (layer, kernel) = repack(&tar, cache)?;
    Ok(Base { key: key.to_owned(), layer, kernel })
}

fn install(packages: &Packages, tar: &Path, cache: &Cache) -> Result<()> {
    let mut options = vec!["--variant=essential".to_owned(), "--format=tar".to_owned()];
    options.extend(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    options.push(format!("--essential-hook={ESSENTIAL_HOOK}"));
    options.push(format!("--customize-hook={CUSTOMIZE_HOOK}"));
    cache.say(&format!("installing Debian {SUITE} with {} packages", packages.names.len()));
    mmdebstrap(&options, packages, tar, cache)
}

/// Copies mmdebstrap's tar into a layer, and finds the version of the kernel in it. mmdebstrap has sorted
/// the entries and set their times; what remains is to leave out device nodes and `./`.
fn repack(tar: &Path, cache: &Cache) -> Result<(Layer, String)> {
    let mut archive = tar::Archive::new(BufReader::new(File::open(tar)?));
    let mut sink = LayerSink::new(cache.blobs())?;
    let mut kernel = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if path.is_empty() || path == "." || path.strip_prefix("dev/").is_some_and(|rest| !rest.is_empty()) {
            continue;
        }
        kernel = kernel_version_in(&path).map(str::to_owned).or(kernel);
        copy(&mut entry, &path, &mut sink).with_context(|| format!("cannot repack /{path}"))?;
    }
    let kernel = kernel.context("the composed system has no kernel in /usr/lib/modules")?;
    Ok((sink.finish(cache.blobs())?, kernel))
}

/// Copies one entry with its extended attributes.
fn copy<R: std::io::Read>(entry: &mut tar::Entry<'_, R>, path: &str, sink: &mut LayerSink) -> Result<()> {
    let mut xattrs = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let name = extension.key()?;
        if name.starts_with("SCHILY.xattr.") {
            xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    let tar = sink.tar();
    tar.append_pax_extensions(xattrs.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
    let mut header = tar::Header::new_gnu();
    let old = entry.header();
    header.set_entry_type(old.entry_type());
    header.set_mode(old.mode()?);
    header.set_uid(old.uid()?);
    header.set_gid(old.gid()?);
    header.set_mtime(old.mtime()?.min(IMAGE_TIME));
    header.set_size(entry.size());
    if let Some(target) = entry.link_name()? {
        let hard = old.entry_type().is_hard_link();
        let target = if hard {
            target.strip_prefix("./").unwrap_or(&target).to_path_buf()
        } else {
            target.into_owned()
        };
        return Ok(tar.append_link(&mut header, path, target)?);
    }
    Ok(tar.append_data(&mut header, path, entry)?)
}
