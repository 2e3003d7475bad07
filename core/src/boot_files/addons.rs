//! Addons beside a UKI: those of the image, and one of ours that carries the machine's own arguments.

use std::{collections::BTreeSet, io::Read as _};

use sha2::{Digest as _, Sha256};

use super::{place, place_blob};
use crate::{
    efi::{EfiVariables, secure_boot},
    error::{Error, IoContext, Result},
    fs::{ReplaceStyle, Root},
    model::{Addon, Blob, Digest, KernelCmdline},
    tree::{BlobSource, TreeReader},
    uki,
};

/// Where distributions put systemd's EFI programs.
const EFI_FOLDER: &str = "usr/lib/systemd/boot/efi";
/// Stubs are about 100 KiB, systemd-boot too; a larger file is not one of them.
const EFI_LIMIT: u64 = 8 << 20;
/// The addon that carries arguments of this machine. Sorts behind those of an image, so that its arguments come last.
const OUR_ADDON: &str = "zz-bootwright-args.addon.efi";

/// The architecture of this machine in EFI's words (`x64`), as systemd's file names carry it.
pub fn efi_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "x86" => "ia32",
        "aarch64" => "aa64",
        "arm" => "arm",
        other => other,
    }
}

/// The path that firmware tries on a disk that it has not met (UEFI specification, section 3.5.1.1).
pub fn removable_path() -> String {
    format!("EFI/BOOT/BOOT{}.EFI", efi_architecture().to_ascii_uppercase())
}

/// Reads one of systemd's EFI programs out of a tree: `{name}{architecture}{suffix}`.
///
/// # Errors
/// `NotFound` if the tree does not have it, naming the package that usually does; `InvalidInput` if it is larger than 8 MiB.
pub async fn systemd_efi_program(tree: &dyn TreeReader, name: &str, suffix: &str) -> Result<Vec<u8>> {
    let path = format!("{EFI_FOLDER}/{name}{}{suffix}", efi_architecture());
    let reader = tree.open(&path).await?.ok_or_else(|| {
        Error::not_found(format!("the image has no {path}"))
            .with_hint("install systemd's EFI programs in the image (Debian: systemd-boot-efi, Fedora: systemd-boot-unsigned)")
    })?;
    let mut bytes = Vec::new();
    reader.take(EFI_LIMIT + 1).read_to_end(&mut bytes).context_io(|| format!("read {path} of the image"))?;
    if bytes.len() as u64 > EFI_LIMIT {
        return Err(Error::invalid(format!("{path} in the image is larger than 8 MiB")));
    }
    Ok(bytes)
}

#[derive(Debug, Clone)]
enum Content {
    Blob(Blob),
    Bytes(Vec<u8>),
}

/// The addons that one UKI is to be loaded with.
#[derive(Debug, Clone, Default)]
pub struct AddonSet(Vec<(String, Content)>);

impl AddonSet {
    /// Collects the image's addons and, if there are arguments of this machine, one of ours that carries them.
    ///
    /// # Errors
    /// - `InvalidInput` if a name is not one that the stub loads, or stands twice.
    /// - `Unsupported` if there are arguments but Secure Boot is on: nobody signs our addon, and the stub would pass it over.
    /// - `NotFound` if the tree lacks the addon stub.
    pub async fn collect(
        addons: &[Addon],
        extra_args: &KernelCmdline,
        tree: Option<&dyn TreeReader>,
        efi: &dyn EfiVariables,
    ) -> Result<Self> {
        let mut set: Vec<_> =
            addons.iter().map(|addon| (addon.name.clone(), Content::Blob(addon.blob.clone()))).collect();
        check_names(&set)?;
        if !extra_args.is_empty() {
            refuse_under_secure_boot(efi)?;
            let tree = tree.ok_or_else(|| Error::internal("a new entry came without its tree"))?;
            let stub = systemd_efi_program(tree, "addon", ".efi.stub").await?;
            set.push((OUR_ADDON.to_owned(), Content::Bytes(uki::addon(stub, extra_args)?)));
        }
        set.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self(set))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// File names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Sizes in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(_, content)| match content {
            Content::Blob(blob) => blob.size,
            Content::Bytes(bytes) => bytes.len() as u64,
        })
    }

    /// A digest of names and contents together with `uki`: equal only for the same UKI with the same addons. Without addons it is
    /// the UKI's own digest.
    pub fn digest_with(&self, uki: &Digest) -> Digest {
        set_digest(uki, &self.digests())
    }

    /// File names, sorted, with the digests of their contents.
    pub fn digests(&self) -> Vec<(String, Digest)> {
        let digest = |content: &Content| match content {
            Content::Blob(blob) => blob.sha256.clone(),
            Content::Bytes(bytes) => Digest::of(bytes),
        };
        self.0.iter().map(|(name, content)| (name.clone(), digest(content))).collect()
    }

    /// Writes the addons to the folder beside the UKI at `uki` where the stub looks for them, removing addons of the same folder
    /// that do not belong to the set. `written` gets the path of each file that was not there before, also when it fails.
    ///
    /// # Errors
    /// As [`place_blob`].
    pub async fn place_beside(
        &self,
        root: &Root,
        uki: &str,
        blobs: &dyn BlobSource,
        written: &mut Vec<String>,
    ) -> Result<()> {
        let folder = addon_folder(uki);
        for (name, content) in &self.0 {
            let path = format!("{folder}/{name}");
            written.extend((!root.exists(&path)).then(|| path.clone()));
            match content {
                Content::Blob(blob) => place_blob(root, &path, blob, blobs).await.map(drop)?,
                Content::Bytes(bytes) => place_bytes(root, &path, bytes)?,
            }
        }
        for stray in root.list(&folder)? {
            if !self.names().any(|name| name == stray) {
                root.remove_file(&format!("{folder}/{stray}"))?;
            }
        }
        Ok(())
    }
}

/// [`AddonSet::digest_with`] for addons with these names, sorted, and digests.
pub fn set_digest(uki: &Digest, addons: &[(String, Digest)]) -> Digest {
    if addons.is_empty() {
        return uki.clone();
    }
    let mut hash = Sha256::new();
    hash.update(uki.as_str());
    for (name, digest) in addons {
        hash.update(format!("\n{name} {digest}"));
    }
    Digest::from_sha256(hash.finalize().into())
}

fn place_bytes(root: &Root, path: &str, bytes: &[u8]) -> Result<()> {
    if root.read(path)?.as_deref() != Some(bytes) {
        place(root, path, &mut &*bytes)?;
    }
    Ok(())
}

/// Where the stub looks for addons of the UKI at `uki` (systemd-stub(7): `<file>.extra.d/*.addon.efi`).
pub fn addon_folder(uki: &str) -> String {
    format!("{uki}.extra.d")
}

/// Arguments that the addons beside a UKI append, as far as they can be read.
///
/// # Errors
/// `Io` if the folder cannot be listed; an addon that cannot be read adds nothing.
pub fn addon_cmdline(root: &Root, uki: &str) -> Result<KernelCmdline> {
    let folder = addon_folder(uki);
    let mut line = KernelCmdline::new();
    for name in root.list(&folder)?.iter().filter(|name| name.ends_with(".addon.efi")) {
        let info =
            root.open_file(&format!("{folder}/{name}"))?.map(|mut file| uki::UkiInfo::from_reader(&mut file));
        if let Some(Ok(info)) = info {
            info.cmdline().iter().for_each(|arg| line.push(arg.clone()));
        }
    }
    Ok(line)
}

/// Copies the addon folder of one UKI for another one.
///
/// # Errors
/// As the system says.
pub fn copy_addons(root: &Root, from: &str, to: &str) -> Result<()> {
    let (from, to) = (addon_folder(from), addon_folder(to));
    for name in root.list(&from)? {
        let content = root.read(&format!("{from}/{name}"))?.unwrap_or_default();
        root.replace(&format!("{to}/{name}"), &content, ReplaceStyle::Durable)?;
    }
    Ok(())
}

/// Names and digests of the addons beside a UKI: equal for two UKIs only if they are loaded with the same addons.
///
/// # Errors
/// `Io` as the system says.
pub fn addon_digests(root: &Root, uki: &str) -> Result<Vec<(String, Option<Digest>)>> {
    let folder = addon_folder(uki);
    let names = root.list(&folder)?;
    names.into_iter().map(|name| Ok((name.clone(), root.sha256_of(&format!("{folder}/{name}"))?))).collect()
}

fn refuse_under_secure_boot(efi: &dyn EfiVariables) -> Result<()> {
    if !secure_boot(efi)? {
        return Ok(());
    }
    Err(Error::unsupported("kernel arguments cannot be added to a sealed UKI while Secure Boot is on")
        .with_hint("ship a signed addon with the image, or remove the machine's own kernel arguments"))
}

fn check_names(set: &[(String, Content)]) -> Result<()> {
    let mut seen = BTreeSet::from([OUR_ADDON.to_owned()]);
    for (name, _) in set {
        let stem = name.strip_suffix(".addon.efi").unwrap_or_default();
        let clean = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        if stem.is_empty() || stem.starts_with('.') || name.len() > 200 || !stem.chars().all(clean) {
            return Err(Error::invalid(format!("{name:?} is not a name of a UKI addon"))
                .with_hint("name it <name>.addon.efi, in ASCII letters, digits and . _ - + @"));
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(Error::invalid(format!("two addons are called {name:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efi::{AbsentVariables, GLOBAL_VENDOR, MemoryVariables};

    fn addon(name: &str) -> Addon {
        let sha256 = Digest::from_sha256([0; 32]);
        Addon { name: name.into(), blob: Blob { key: "k".into(), size: 1, sha256 } }
    }

    #[tokio::test]
    async fn names_that_leave_the_folder_or_clash_on_fat_are_refused() {
        for bad in ["../x.addon.efi", "x.efi", ".addon.efi", "zz-BOOTWRIGHT-args.addon.efi"] {
            let result =
                AddonSet::collect(&[addon(bad)], &KernelCmdline::new(), None, &AbsentVariables).await;
            assert!(result.is_err(), "{bad}");
        }
        let twice = [addon("a.addon.efi"), addon("A.addon.efi")];
        assert!(AddonSet::collect(&twice, &KernelCmdline::new(), None, &AbsentVariables).await.is_err());
    }

    /// spec: BW-119
    #[tokio::test]
    async fn arguments_for_a_sealed_uki_are_refused_under_secure_boot() {
        let efi = MemoryVariables::default();
        efi.write(GLOBAL_VENDOR, "SecureBoot", &[1]).unwrap();
        let error = AddonSet::collect(&[], &"quiet".parse().unwrap(), None, &efi).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn the_set_digest_is_the_uki_s_own_only_without_addons() {
        let uki = Digest::from_sha256([1; 32]);
        assert_eq!(AddonSet::default().digest_with(&uki), uki);
        let set =
            AddonSet::collect(&[addon("a.addon.efi")], &KernelCmdline::new(), None, &AbsentVariables).await;
        assert_ne!(set.unwrap().digest_with(&uki), uki);
    }
}
