//! The base system: Debian 13 from packages, as one layer.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    cache::{Cache, Key},
    entry::IMAGE_TIME,
    layer::{Layer, LayerSink},
    oci::kernel_version_in,
    writer::oci_architecture,
};
use crate::{host, packages::apt};

const ESSENTIAL_HOOK: &str = include_str!("scripts/essential.sh");
const CUSTOMIZE_HOOK: &str = include_str!("scripts/customize.sh");
const SUITE: &str = "trixie";

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
pub(super) fn default_packages() -> Vec<String> {
    let kernel = format!("linux-image-cloud-{}", oci_architecture());
    let names = "dracut e2fsprogs efibootmgr kmod login mount ostree ostree-boot systemd systemd-boot-efi systemd-boot-tools \
                 systemd-sysv udev util-linux zstd";
    let grub: &[&str] = match oci_architecture() {
        "amd64" => &["grub-common", "grub-efi-amd64-bin", "grub-pc-bin"],
        "arm64" => &["grub-common", "grub-efi-arm64-bin"],
        _ => &[],
    };
    let names = names.split_whitespace().chain(grub.iter().copied());
    names.map(str::to_owned).chain([kernel]).collect()
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
pub(super) fn base(packages: &[String], cache: &Cache) -> Result<Base> {
    let key = EXCLUDED.iter().fold(Key::default(), Key::add);
    let key = packages.iter().fold(key.add("packages"), Key::add);
    let key = key.add(SUITE).add(oci_architecture()).add(ESSENTIAL_HOOK).add(CUSTOMIZE_HOOK).short();
    let complete = |base: &Base| cache.blobs().holds(&base.layer.blob);
    cache.remembered(&format!("base-{key}"), complete, || build(packages, &key, cache))
}

fn build(packages: &[String], key: &str, cache: &Cache) -> Result<Base> {
    let folder = tempfile::Builder::new().prefix(".base-").tempdir_in(cache.dir())?;
    let tar = folder.path().join("base.tar");
    mmdebstrap(packages, &tar, cache)?;
    cache.say("packing the base layer");
    let (layer, kernel) = repack(&tar, cache)?;
    Ok(Base { key: key.to_owned(), layer, kernel })
}

/// Runs mmdebstrap, passing its messages on as progress.
fn mmdebstrap(packages: &[String], tar: &Path, cache: &Cache) -> Result<()> {
    ensure!(host::find_program("mmdebstrap").is_some(), "mmdebstrap is not installed; run the set-up first");
    let mut command = host::privileged("env");
    // Through `env`, because sudo would drop the variable.
    command.arg(format!("SOURCE_DATE_EPOCH={IMAGE_TIME}")).arg("mmdebstrap");
    command.args(["--variant=essential", "--format=tar", "--aptopt=Apt::Install-Recommends \"false\""]);
    command.arg(format!("--architectures={}", oci_architecture()));
    command.args(apt::archive_keys(SUITE).iter().map(|key| format!("--keyring={}", key.display())));
    command.args(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    command.arg(format!("--include={}", packages.join(",")));
    command.arg(format!("--essential-hook={ESSENTIAL_HOOK}"));
    command.arg(format!("--customize-hook={CUSTOMIZE_HOOK}"));
    command.arg(SUITE).arg(tar).args(sources()?);
    cache.say(&format!("installing Debian {SUITE} with {} packages", packages.len()));
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start mmdebstrap")?;
    let mut said = Vec::new();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line?;
        // The lines about hooks show the start of a script.
        if let Some(step) = line.strip_prefix("I: ").filter(|step| !step.starts_with("running --")) {
            cache.say(step);
        }
        said.push(line);
    }
    if !child.wait()?.success() {
        bail!("mmdebstrap could not compose Debian {SUITE}:\n{}", host::tail(said.join("\n").as_bytes(), 30));
    }
    Ok(())
}

/// The package sources, from the mirrors that the machine itself uses.
fn sources() -> Result<Vec<String>> {
    let mirror = apt::debian_mirror()?;
    let mut sources =
        vec![format!("deb {mirror} {SUITE} main"), format!("deb {mirror} {SUITE}-updates main")];
    sources.extend(apt::security_mirror().map(|uri| format!("deb {uri} {SUITE}-security main")));
    Ok(sources)
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
