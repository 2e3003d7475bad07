//! Kernel artifacts: what a deployment boots with, as opaque blobs.

use serde::{Deserialize, Serialize};

use super::{Digest, KernelCmdline};

/// A file that a backend can open and a bootloader can copy, named by what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blob {
    /// The backend's handle; opaque to everybody else.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content. A bootloader checks it while copying, and may share files with equal digests.
    pub sha256: Digest,
}

/// A UKI addon that ships with an image and is to be loaded with its UKI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addon {
    /// File name, ending in `.addon.efi`.
    pub name: String,
    /// Its content.
    pub blob: Blob,
}

/// The kernel in one of its two formats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelArtifacts {
    /// Kernel and initrds as separate files; the boot entry supplies the command line.
    Split {
        /// Kernel version, as `uname -r` will print it.
        kver: String,
        /// The kernel image.
        kernel: Blob,
        /// Initrds in the order in which they are concatenated.
        initrds: Vec<Blob>,
        /// Device tree blob, for machines that need one.
        devicetree: Option<Blob>,
    },
    /// A unified kernel image, which carries its own command line (UAPI.5).
    Unified {
        /// Kernel version, if the image tells it.
        kver: Option<String>,
        /// The UKI.
        uki: Blob,
        /// Addons next to it.
        addons: Vec<Addon>,
        /// The `.cmdline` section, which a signature may cover.
        embedded: KernelCmdline,
    },
}

impl KernelArtifacts {
    /// Every blob in it, once each in order of appearance.
    pub fn blobs(&self) -> Vec<&Blob> {
        match self {
            Self::Split { kernel, initrds, devicetree, .. } => {
                std::iter::once(kernel).chain(initrds).chain(devicetree).collect()
            }
            Self::Unified { uki, addons, .. } => {
                std::iter::once(uki).chain(addons.iter().map(|addon| &addon.blob)).collect()
            }
        }
    }

    /// Kernel version, if known.
    pub fn kver(&self) -> Option<&str> {
        match self {
            Self::Split { kver, .. } => Some(kver),
            Self::Unified { kver, .. } => kver.as_deref(),
        }
    }
}

/// What it takes to boot one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootArtifacts {
    /// The kernel.
    pub kernel: KernelArtifacts,
    /// The arguments by which early boot finds this tree and no other. A command line that lacks one of them, or
    /// gives one of their keys another value, does not boot this deployment.
    pub root_args: KernelCmdline,
}
