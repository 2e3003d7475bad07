//! Which kernel an image boots with: the image contract's search for a UKI or for kernel and initrd, over any store.

use std::io::{Read, Write};

use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, IoContext, Result},
    fs::hash_into,
    model::{Addon, Blob, KernelArtifacts},
    tree::Reader,
    uki::UkiInfo,
};

const UKI_FOLDER: &str = "boot/EFI/Linux";
const SHARED_ADDONS: &str = "boot/loader/addons";
const ADDON: &str = ".addon.efi";
const MODULES: &str = "usr/lib/modules";

/// A file of an image, opened.
#[expect(missing_debug_implementations, reason = "an open reader has nothing to show")]
pub struct ImageFile {
    /// The key of its blob.
    pub key: String,
    /// Its length in bytes, as the image says.
    pub size: u64,
    /// Its content, from the start.
    pub reader: Reader,
}

/// The files of an image in a store, before there is a deployment. Paths as in [`TreeReader`](crate::tree::TreeReader).
pub trait ImageFiles {
    /// Names in a folder, sorted; empty if there is no such folder.
    ///
    /// # Errors
    /// Those of the store.
    fn names(&self, folder: &str) -> Result<Vec<String>>;

    /// Whether a regular file is at `path`.
    ///
    /// # Errors
    /// Those of the store.
    fn is_file(&self, path: &str) -> Result<bool>;

    /// Opens a regular file; `None` if there is none.
    ///
    /// # Errors
    /// Those of the store.
    fn open(&self, path: &str) -> Result<Option<ImageFile>>;
}

/// The kernel of an image.
#[derive(Debug, Clone)]
pub struct ImageKernel {
    /// Its files.
    pub artifacts: KernelArtifacts,
    /// SHA-256 over kernel and initrd as they follow each other, in hex.
    pub digest: String,
    /// The kernel's or the UKI's path in the image.
    pub path: String,
}

/// Finds the kernel of an image whose `/boot` is still there. A UKI comes before separate files.
///
/// # Errors
/// `InvalidInput` if there is none or more than one.
pub fn find(files: &dyn ImageFiles) -> Result<ImageKernel> {
    match one_uki(files)? {
        Some(name) => unified(files, &name),
        None => split(files, &one_version(files)?),
    }
}

fn one_uki(files: &dyn ImageFiles) -> Result<Option<String>> {
    let is_uki = |name: &String| has_suffix(name, ".efi") && !has_suffix(name, ADDON);
    let mut found: Vec<_> = files.names(UKI_FOLDER)?.into_iter().filter(is_uki).collect();
    if found.len() > 1 {
        return Err(several("UKI", &format!("/{UKI_FOLDER}"), &found));
    }
    Ok(found.pop())
}

/// FAT knows no case, and so names differ in it.
fn has_suffix(name: &str, suffix: &str) -> bool {
    name.to_ascii_lowercase().ends_with(suffix)
}

fn one_version(files: &dyn ImageFiles) -> Result<String> {
    let mut found = Vec::new();
    for kver in files.names(MODULES)? {
        if files.is_file(&format!("{MODULES}/{kver}/vmlinuz"))? {
            found.push(kver);
        }
    }
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

fn split(files: &dyn ImageFiles, kver: &str) -> Result<ImageKernel> {
    let folder = format!("{MODULES}/{kver}");
    let path = format!("{folder}/vmlinuz");
    let open = |name: &str| files.open(&format!("{folder}/{name}"));
    let (Some(kernel), Some(initrd)) = (open("vmlinuz")?, open("initramfs.img")?) else {
        return Err(Error::invalid(format!("kernel {kver} in the image has no initramfs.img beside it"))
            .with_hint(format!(
                "build one into the image, for example with dracut, as /{folder}/initramfs.img"
            )));
    };
    let mut hash = Sha256::new();
    let artifacts = KernelArtifacts::Split {
        kver: kver.to_owned(),
        kernel: describe(kernel, &mut hash)?,
        initrds: vec![describe(initrd, &mut hash)?],
        devicetree: open("devicetree")?.map(|file| describe(file, &mut std::io::sink())).transpose()?,
    };
    Ok(ImageKernel { artifacts, digest: hex::encode(hash.finalize()), path })
}

fn unified(files: &dyn ImageFiles, name: &str) -> Result<ImageKernel> {
    let path = format!("{UKI_FOLDER}/{name}");
    let file =
        files.open(&path)?.ok_or_else(|| Error::invalid(format!("/{path} in the image is not a file")))?;
    let mut bytes = Vec::new();
    let uki = describe(file, &mut bytes)?;
    let (info, digest) = read_uki(&bytes, &path)?;
    let artifacts = KernelArtifacts::Unified {
        kver: info.uname.as_ref().map(|text| text.trim().to_owned()),
        uki,
        addons: addons(files, name)?,
        embedded: info.cmdline(),
    };
    Ok(ImageKernel { artifacts, digest, path })
}

/// Addons of this UKI, and those that the image has for every UKI.
fn addons(files: &dyn ImageFiles, uki: &str) -> Result<Vec<Addon>> {
    let mut addons = Vec::new();
    for folder in [SHARED_ADDONS.to_owned(), format!("{UKI_FOLDER}/{uki}.extra.d")] {
        for name in files.names(&folder)?.into_iter().filter(|name| has_suffix(name, ADDON)) {
            if let Some(file) = files.open(&format!("{folder}/{name}"))? {
                addons.push(Addon { name, blob: describe(file, &mut std::io::sink())? });
            }
        }
    }
    Ok(addons)
}

/// What a UKI says of itself, and the digest of kernel and initrd in it.
fn read_uki(bytes: &[u8], path: &str) -> Result<(UkiInfo, String)> {
    let info = UkiInfo::parse(bytes).map_err(|error| {
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

/// Reads a file once for its digest, and passes the content on in the same pass.
fn describe(file: ImageFile, copy: &mut dyn Write) -> Result<Blob> {
    let ImageFile { key, size, mut reader } = file;
    let (sha256, found) = hash_into(&mut reader as &mut dyn Read, copy)
        .context_io(|| "read a boot file of the image".to_owned())?;
    if found != size {
        return Err(Error::integrity("a boot file of the image does not have the size that the image says"));
    }
    Ok(Blob { key, size, sha256 })
}
