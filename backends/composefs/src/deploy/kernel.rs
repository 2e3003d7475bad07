//! Which kernel an image boots with.

use std::io::Read as _;

use bootwright_core::{
    error::{Error, IoContext, Result},
    model::{Addon, KernelArtifacts},
    uki::UkiInfo,
};
use composefs::{
    fsverity::FsVerityHashValue,
    tree::{FileSystem, RegularFile},
};
use sha2::{Digest as _, Sha256};

use super::blob;
use crate::{
    origin::BootType,
    tree::{Objects, file, names},
};

const UKI_FOLDER: &str = "boot/EFI/Linux";
const SHARED_ADDONS: &str = "boot/loader/addons";
const ADDON: &str = ".addon.efi";
const MODULES: &str = "usr/lib/modules";

/// The kernel of an image.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its files.
    pub artifacts: KernelArtifacts,
    /// How it is packed.
    pub boot_type: BootType,
    /// SHA-256 over kernel and initrd, in hex: the key `digest` of bootc's origin files.
    pub digest: String,
}

/// Finds the kernel in a tree whose `/boot` is still there. A UKI comes before separate files.
///
/// # Errors
/// `InvalidInput` if there is none or more than one.
pub(crate) fn find<H: FsVerityHashValue>(tree: &FileSystem<H>, objects: &Objects) -> Result<Kernel> {
    match one_uki(tree)? {
        Some(name) => unified(tree, objects, &name),
        None => split(tree, objects, &one_version(tree)?),
    }
}

fn one_uki<H: FsVerityHashValue>(tree: &FileSystem<H>) -> Result<Option<String>> {
    let is_uki = |name: &String| has_suffix(name, ".efi") && !has_suffix(name, ADDON);
    let mut found: Vec<_> = names(tree, UKI_FOLDER).into_iter().filter(is_uki).collect();
    if found.len() > 1 {
        return Err(several("UKI", &format!("/{UKI_FOLDER}"), &found));
    }
    Ok(found.pop())
}

/// FAT knows no case, and so names differ in it.
fn has_suffix(name: &str, suffix: &str) -> bool {
    name.to_ascii_lowercase().ends_with(suffix)
}

fn one_version<H: FsVerityHashValue>(tree: &FileSystem<H>) -> Result<String> {
    let has_kernel = |kver: &String| file(tree, &format!("{MODULES}/{kver}/vmlinuz")).is_some();
    let mut found: Vec<_> = names(tree, MODULES).into_iter().filter(has_kernel).collect();
    match (found.pop(), found.is_empty()) {
        (Some(kver), true) => Ok(kver),
        (Some(kver), false) => {
            found.push(kver);
            Err(several("kernel", &format!("/{MODULES}"), &found))
        }
        (None, _) => Err(Error::invalid("no kernel in the image").with_hint(
            "a bootable image has /usr/lib/modules/<version>/vmlinuz and initramfs.img, or a UKI in /boot/EFI/Linux",
        )),
    }
}

fn several(what: &str, place: &str, found: &[String]) -> Error {
    Error::invalid(format!("more than one {what} in the image: {}", found.join(", ")))
        .with_hint(format!("leave one in {place}, and remove the packages of the others"))
}

fn split<H: FsVerityHashValue>(tree: &FileSystem<H>, objects: &Objects, kver: &str) -> Result<Kernel> {
    let folder = format!("{MODULES}/{kver}");
    let find = |name: &str| file(tree, &format!("{folder}/{name}"));
    let (Some(kernel), Some(initrd)) = (find("vmlinuz"), find("initramfs.img")) else {
        return Err(Error::invalid(format!("kernel {kver} in the image has no initramfs.img beside it"))
            .with_hint(format!(
                "build one into the image, for example with dracut, as /{folder}/initramfs.img"
            )));
    };
    let mut hash = Sha256::new();
    let artifacts = KernelArtifacts::Split {
        kver: kver.to_owned(),
        kernel: blob::describe_into(objects, kernel, &mut hash)?,
        initrds: vec![blob::describe_into(objects, initrd, &mut hash)?],
        devicetree: find("devicetree").map(|file| blob::describe(objects, file)).transpose()?,
    };
    Ok(Kernel { artifacts, boot_type: BootType::Split, digest: hex::encode(hash.finalize()) })
}

fn unified<H: FsVerityHashValue>(tree: &FileSystem<H>, objects: &Objects, name: &str) -> Result<Kernel> {
    let path = format!("{UKI_FOLDER}/{name}");
    let uki =
        file(tree, &path).ok_or_else(|| Error::invalid(format!("/{path} in the image is not a file")))?;
    let (info, digest) = read_uki(objects, uki, &path)?;
    let artifacts = KernelArtifacts::Unified {
        kver: info.uname.as_ref().map(|text| text.trim().to_owned()),
        uki: blob::describe(objects, uki)?,
        addons: addons(tree, objects, name)?,
        embedded: info.cmdline(),
    };
    Ok(Kernel { artifacts, boot_type: BootType::Unified, digest })
}

/// Addons of this UKI, and those that the image has for every UKI.
fn addons<H: FsVerityHashValue>(tree: &FileSystem<H>, objects: &Objects, uki: &str) -> Result<Vec<Addon>> {
    let mut addons = Vec::new();
    for folder in [SHARED_ADDONS.to_owned(), format!("{UKI_FOLDER}/{uki}.extra.d")] {
        for name in names(tree, &folder).into_iter().filter(|name| has_suffix(name, ADDON)) {
            if let Some(file) = file(tree, &format!("{folder}/{name}")) {
                addons.push(Addon { name, blob: blob::describe(objects, file)? });
            }
        }
    }
    Ok(addons)
}

/// What a UKI says of itself, and the digest of kernel and initrd in it.
fn read_uki<H: FsVerityHashValue>(
    objects: &Objects,
    uki: &RegularFile<H>,
    path: &str,
) -> Result<(UkiInfo, String)> {
    let mut bytes = Vec::new();
    objects.reader(uki)?.read_to_end(&mut bytes).context_io(|| format!("read /{path} of the image"))?;
    let info = UkiInfo::parse(&bytes).map_err(|error| {
        Error::invalid(format!("/{path} in the image is not a UKI"))
            .with_hint("build it with ukify, and put nothing else there")
            .with_source(error)
    })?;
    let mut hash = Sha256::new();
    for span in [&info.linux, &info.initrd].into_iter().flatten() {
        let start = usize::try_from(span.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(span.size).unwrap_or(usize::MAX));
        hash.update(bytes.get(start..end).unwrap_or_default());
    }
    Ok((info, hex::encode(hash.finalize())))
}
