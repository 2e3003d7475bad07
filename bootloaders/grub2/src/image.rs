//! GRUB's own program, made of the modules in a deployment's tree.

use std::{collections::BTreeMap, io::Read as _};

use bootwright_core::{
    Error, ErrorKind, IoContext, Result,
    fs::{Faults, Root},
    model::Digest,
    process::Tool,
    tree::TreeReader,
};
use sha2::{Digest as _, Sha256};

use crate::{bios, menu::FOLDER};

/// What every program has built in. It loads nothing later: modules on disk could belong to another version.
const MODULES: &str = "part_gpt part_msdos fat ext2 btrfs xfs search search_fs_file configfile normal linux echo test \
                       regexp loadenv sleep reboot halt serial terminal password_pbkdf2 minicmd ls cat true";
/// Not every version has these.
const OPTIONAL: &str = "bli efi_gop all_video font";
/// Text in the early configuration, by which our programs are told from those of others.
pub const OURS: &[u8] = b"bw_loader='bootwright-grub'";
/// Finds our configuration: on the partition that GRUB was started from if it is there. GRUB's rescue parser reads this, which knows neither
/// comments nor `if`.
pub const EARLY: &str = "set bw_loader='bootwright-grub'\n\
                     search --no-floppy --file --set=root --hint \"$root\" /EFI/bootwright/grub.cfg\n\
                     set prefix=($root)/EFI/bootwright\n";
/// Modules take a few megabytes; a larger file is none.
const FILE_LIMIT: u64 = 8 << 20;

/// One of GRUB's platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Its name (`x86_64-efi`).
    pub name: &'static str,
    /// Debian's package with its modules.
    pub debian: &'static str,
    /// Fedora's.
    pub fedora: &'static str,
    /// Modules besides those of all platforms.
    modules: &'static str,
    /// Whether its program is told where it lies when it is written ([`mod@bios`]).
    is_placed: bool,
}

/// UEFI on the architecture of this program; `None` if GRUB does not know it.
pub fn uefi() -> Option<Platform> {
    let (name, debian, fedora) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64-efi", "grub-efi-amd64-bin", "grub2-efi-x64-modules"),
        "x86" => ("i386-efi", "grub-efi-ia32-bin", "grub2-efi-ia32-modules"),
        "aarch64" => ("arm64-efi", "grub-efi-arm64-bin", "grub2-efi-aa64-modules"),
        "riscv64" => ("riscv64-efi", "grub-efi-riscv64-bin", "grub2-efi-riscv64-modules"),
        _ => return None,
    };
    Some(Platform { name, debian, fedora, modules: "chain", is_placed: false })
}

/// BIOS; `None` on architectures that have none.
pub fn bios() -> Option<Platform> {
    matches!(std::env::consts::ARCH, "x86_64" | "x86").then_some(Platform {
        name: "i386-pc",
        debian: "grub-pc-bin",
        fedora: "grub2-pc-modules",
        modules: "biosdisk",
        is_placed: true,
    })
}

impl Platform {
    fn folder(&self) -> String {
        format!("usr/lib/grub/{}", self.name)
    }

    /// The error of a tree without them.
    pub fn missing(&self) -> Error {
        Error::not_found(format!("the image has no GRUB modules for {} (/{})", self.name, self.folder()))
            .with_hint(format!(
                "install the package {} (Debian) or {} (Fedora) in the image",
                self.debian, self.fedora
            ))
    }

    /// One file of the platform, out of the tree.
    ///
    /// # Errors
    /// `NotFound` if the tree lacks it.
    pub async fn file(&self, tree: &dyn TreeReader, name: &str) -> Result<Vec<u8>> {
        read(tree, &format!("{}/{name}", self.folder())).await?.ok_or_else(|| self.missing())
    }

    /// Everything of the platform in a tree that a program may be made of.
    ///
    /// # Errors
    /// `NotFound` if the tree lacks them; as reading it fails.
    pub async fn parts(&self, tree: &dyn TreeReader) -> Result<Parts> {
        let mut files = BTreeMap::new();
        for name in tree.list(&self.folder()).await?.into_iter().filter(|name| is_part(name)) {
            let content = self.file(tree, &name).await?;
            files.insert(name, content);
        }
        if !files.contains_key("kernel.img") {
            return Err(self.missing());
        }
        Ok(Parts { platform: *self, files })
    }
}

/// What a program is made of.
#[derive(Debug)]
pub struct Parts {
    platform: Platform,
    /// By name, without folders.
    files: BTreeMap<String, Vec<u8>>,
}

impl Parts {
    /// Tells programs apart that [`Parts::make`] would make of other parts, or in another way.
    pub fn digest(&self, prefix: &str) -> Digest {
        let mut hash = Sha256::new();
        let texts = [self.platform.name, MODULES, OPTIONAL, self.platform.modules, EARLY, prefix];
        let texts = texts.iter().map(|text| ("", text.as_bytes()));
        let files = self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
        for (name, content) in texts.chain(files) {
            for part in [name.as_bytes(), content] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Digest::from_sha256(hash.finalize().into())
    }

    fn modules(&self) -> impl Iterator<Item = String> {
        let optional = OPTIONAL.split(' ').filter(|name| self.files.contains_key(&format!("{name}.mod")));
        let all = MODULES.split_whitespace().chain(self.platform.modules.split(' ')).chain(optional);
        all.map(str::to_owned)
    }

    /// Makes the program, which takes a good part of a second. `prefix` is where GRUB looks for its configuration if the early one fails.
    ///
    /// # Errors
    /// `NotFound` if this system lacks `grub-mkimage`, naming the package that has it; `Io` with what that program says.
    pub async fn make(&self, prefix: &str) -> Result<Vec<u8>> {
        let scratch = tempfile::tempdir().context_io(|| "make a temporary folder".to_owned())?;
        let work = Root::open(scratch.path(), Faults::none())?;
        for (name, content) in &self.files {
            note(&work, name, content)?;
        }
        note(&work, "early.cfg", EARLY.as_bytes())?;
        let at = |name: &str| scratch.path().join(name).into_os_string();
        let arguments = |program: &str| {
            let tool = Tool::new(program).package("grub-common").fedora_package("grub2-tools-minimal");
            let tool = tool.arg("-d").arg(scratch.path()).args(["-O", self.platform.name, "-p", prefix]);
            tool.arg("-c").arg(at("early.cfg")).arg("-o").arg(at("program")).args(self.modules())
        };
        match arguments("grub-mkimage").run().await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                // Fedora's name. A system with neither keeps the program that it has.
                arguments("grub2-mkimage").run().await.map_err(|second| match second.kind() {
                    ErrorKind::Unsupported => Error::not_found("no grub-mkimage is installed here")
                        .with_hint(error.hint().unwrap_or_default().to_owned()),
                    _ => second,
                })?;
            }
            other => drop(other?),
        }
        let mut program =
            work.read("program")?.ok_or_else(|| Error::internal("grub-mkimage made no file"))?;
        if self.platform.is_placed {
            bios::forget_place(&mut program);
        }
        Ok(program)
    }
}

/// Writes a file for the moment: nothing of this outlives the call, and nothing is synced.
fn note(scratch: &Root, name: &str, content: &[u8]) -> Result<()> {
    scratch.dir().write(name, content).context_io(|| format!("write {}", scratch.show(name)))
}

/// The prefix of the UEFI program: the device is the one that it was started from.
pub fn uefi_prefix() -> String {
    format!("/{FOLDER}")
}

fn is_part(name: &str) -> bool {
    [".mod", ".img", ".lst"].iter().any(|end| name.ends_with(end))
}

/// A file of the tree.
///
/// # Errors
/// `InvalidInput` for one that is too large to be a part of GRUB; as reading fails.
pub async fn read(tree: &dyn TreeReader, path: &str) -> Result<Option<Vec<u8>>> {
    let Some(reader) = tree.open(path).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    reader.take(FILE_LIMIT + 1).read_to_end(&mut bytes).context_io(|| format!("read {path} of the image"))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Error::invalid(format!("{path} in the image is larger than 8 MiB")));
    }
    Ok(Some(bytes))
}
