//! Install defaults that an image brings: `/usr/lib/bootc/install/*.toml` (bootc-install-config(5)).

use serde::Deserialize;

use super::drop_in;
use crate::{
    error::{Error, Result},
    model::{KernelCmdline, Stateroot},
    tree::TreeReader,
};

/// Where the files are in an image.
const FOLDER: &str = "usr/lib/bootc/install";

/// How a disk is to be laid out below the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockSetup {
    /// The file system lies on the partition.
    Direct,
    /// An encrypted volume lies between, opened by the TPM.
    Tpm2Luks,
}

/// What one file says; merged in the order of file names by [`InstallDefaults::merge`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallFile {
    /// Architectures that it is for, in the kernel's names or OCI's; all if not said.
    pub match_architectures: Option<Vec<String>>,
    /// What it sets.
    pub defaults: InstallDefaults,
}

/// What an image wants an install to do where the person who installs does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallDefaults {
    /// Type of the root file system (`ext4`): lower-case letters and digits, not checked further.
    filesystem: Option<String>,
    /// The same by its older name, `root-fs-type`; the newer one wins, whichever file it stands in.
    legacy_filesystem: Option<String>,
    /// Kernel arguments for this machine, appended to those that the image brings.
    pub kargs: KernelCmdline,
    /// Layouts that the image can start from, the default first; `None` is [`BlockSetup::Direct`] alone.
    pub block: Option<Vec<BlockSetup>>,
    /// Whose `/var` the system uses.
    pub stateroot: Option<Stateroot>,
    /// What `root=` gets, `UUID=…` or `LABEL=…`. An empty text asks for no such argument.
    pub root_mount_spec: Option<String>,
    /// What `/boot` is mounted by. An empty text asks for no such argument.
    pub boot_mount_spec: Option<String>,
    /// The bootloader, in the words of bootc (`grub`, `systemd`, `none`).
    pub bootloader: Option<String>,
    /// Whether images must be refused unless the host's containers-policy.json(5) demands signatures.
    pub enforce_signature_policy: Option<bool>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    install: Section,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Section {
    root_fs_type: Option<String>,
    filesystem: Option<Filesystems>,
    kargs: Option<Vec<String>>,
    /// The manual writes it with an underscore, bootc itself with a hyphen.
    #[serde(alias = "match_architectures")]
    match_architectures: Option<Vec<String>>,
    block: Option<Vec<BlockSetup>>,
    stateroot: Option<Stateroot>,
    root_mount_spec: Option<String>,
    boot_mount_spec: Option<String>,
    bootloader: Option<String>,
    enforce_container_sigpolicy: Option<bool>,
}

#[derive(Deserialize)]
struct Filesystems {
    root: Option<RootFilesystem>,
}

#[derive(Deserialize)]
struct RootFilesystem {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// `install.ostree` and `install.bootupd` tune programs that are not used here: like unknown keys, they are warned about.
const KNOWN: &[&str] = &[
    "install.root-fs-type",
    "install.filesystem.root.type",
    "install.kargs",
    "install.match-architectures",
    "install.match_architectures",
    "install.block",
    "install.stateroot",
    "install.root-mount-spec",
    "install.boot-mount-spec",
    "install.bootloader",
    "install.enforce-container-sigpolicy",
];

impl InstallFile {
    /// Reads one file.
    ///
    /// # Errors
    /// `InvalidInput`, naming file and line: no TOML, a value of the wrong type, an unknown block layout, or an odd file system type.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let File { install } = drop_in::parse(file, text, KNOWN)?;
        let kind = install.filesystem.and_then(|filesystems| filesystems.root).and_then(|root| root.kind);
        if install.block.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid(format!("{file}: the list `block` is empty"))
                .with_hint("leave it out, or write block = [\"direct\"]"));
        }
        let defaults = InstallDefaults {
            filesystem: filesystem(file, kind)?,
            legacy_filesystem: filesystem(file, install.root_fs_type)?,
            kargs: drop_in::arguments(file, &install.kargs.unwrap_or_default())?,
            block: install.block,
            stateroot: install.stateroot,
            root_mount_spec: install.root_mount_spec,
            boot_mount_spec: install.boot_mount_spec,
            bootloader: install.bootloader,
            enforce_signature_policy: install.enforce_container_sigpolicy,
        };
        Ok(Self { match_architectures: install.match_architectures, defaults })
    }
}

/// It becomes part of a program's name (`mkfs.ext4`).
fn filesystem(file: &str, kind: Option<String>) -> Result<Option<String>> {
    let odd = |kind: &String| {
        kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    match kind {
        Some(kind) if odd(&kind) => {
            Err(Error::invalid(format!("{file}: {kind:?} is not a file system type"))
                .with_hint("write ext4, btrfs or xfs"))
        }
        kind => Ok(kind),
    }
}

impl InstallDefaults {
    /// All files of the image for this architecture, merged.
    ///
    /// # Errors
    /// Those of [`InstallFile::parse`] and of the tree.
    pub async fn load(tree: &dyn TreeReader, architecture: &str) -> Result<Self> {
        let mut merged = Self::default();
        for (file, text) in drop_in::read(tree, FOLDER).await? {
            let parsed = InstallFile::parse(&file, &text)?;
            if drop_in::matches(parsed.match_architectures.as_deref(), architecture) {
                merged.merge(parsed.defaults);
            }
        }
        Ok(merged)
    }

    /// Adds a later file: what it says replaces what was said before, but for kernel arguments, which add up.
    pub fn merge(&mut self, later: Self) {
        fn take<T>(ours: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *ours = later;
            }
        }
        take(&mut self.filesystem, later.filesystem);
        take(&mut self.legacy_filesystem, later.legacy_filesystem);
        take(&mut self.block, later.block);
        take(&mut self.stateroot, later.stateroot);
        take(&mut self.root_mount_spec, later.root_mount_spec);
        take(&mut self.boot_mount_spec, later.boot_mount_spec);
        take(&mut self.bootloader, later.bootloader);
        take(&mut self.enforce_signature_policy, later.enforce_signature_policy);
        for arg in later.kargs.iter() {
            self.kargs.push(arg.clone());
        }
    }

    /// Type of the root file system (`ext4`), if the image has a wish.
    pub fn root_filesystem(&self) -> Option<&str> {
        self.filesystem.as_deref().or(self.legacy_filesystem.as_deref())
    }

    /// The layout to use where nobody says.
    pub fn default_block(&self) -> BlockSetup {
        self.block.as_ref().and_then(|block| block.first().copied()).unwrap_or(BlockSetup::Direct)
    }
}
