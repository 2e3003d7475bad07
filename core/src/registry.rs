//! The registry: plugins announce themselves with `inventory`; lookups are by name and sorted.
//!
//! ```
//! use bootwright_core::registry;
//! // This crate alone registers nothing: a binary has what it links.
//! assert!(registry::backend("nonesuch").is_err());
//! ```

use std::sync::Arc;

use crate::{
    backend::StorageBackend,
    bootloader::Bootloader,
    capability::{BackendCapabilities, BootloaderCapabilities},
    context::{BackendContext, BootContext, OfflineRoot},
    error::{Error, Result},
};

/// A storage backend, as its crate registers it.
#[derive(Debug, Clone, Copy)]
pub struct BackendPlugin {
    /// The name on the command line.
    pub name: &'static str,
    /// One line for `bootwright plugins`.
    pub summary: &'static str,
    /// What it can do at best, before a store or host is known.
    pub capabilities: BackendCapabilities,
    /// Which installs have verified reads, of a backend with `verified_root`.
    pub verification: Verification,
    /// Whether the sysroot holds a store of this backend.
    pub detect: fn(&BackendContext) -> Result<bool>,
    /// Opens it. No I/O that changes anything.
    pub open: fn(BackendContext) -> Result<Arc<dyn StorageBackend>>,
    /// Arguments for `mkfs` of the physical root, by file system type.
    pub mkfs_args: fn(filesystem: &str, demand: Verity) -> Vec<String>,
    /// The last step of an install: works on the root file system after it was unmounted, where the host's kernel could not
    /// do it while mounted. A backend without such a step returns at once.
    pub seal_offline: fn(&OfflineRoot) -> Result<()>,
}

/// Whether the kernel must be able to verify every read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verity {
    /// It must; where it cannot, the operation is refused.
    #[default]
    Required,
    /// It need not: recorded in the root arguments and shown by `status`.
    Optional,
}

/// Which installs have reads that the kernel verifies, where a backend is able to make them so.
#[derive(Debug, Clone, Copy)]
pub enum Verification {
    /// Each that does not do without expressly.
    ByDefault,
    /// Each that asks: it takes what many hosts and images do not have. The function says whether this host has its part; it changes
    /// nothing, and its `Unsupported` says what is missing.
    OnRequest(fn() -> Result<()>),
}

impl BackendPlugin {
    /// Whether an install that says nothing about it has verified reads.
    pub fn verifies_by_default(&self) -> bool {
        self.capabilities.verified_root && matches!(self.verification, Verification::ByDefault)
    }

    /// What it can do on this host.
    pub fn capabilities_here(&self) -> BackendCapabilities {
        let here = match self.verification {
            Verification::ByDefault => true,
            Verification::OnRequest(check) => check().is_ok(),
        };
        BackendCapabilities { verified_root: self.capabilities.verified_root && here, ..self.capabilities }
    }
}

/// Partitions that a bootloader wants on a new disk, besides the EFI system partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionNeeds {
    /// A BIOS boot partition, on architectures that have a BIOS.
    pub bios_boot: bool,
    /// File systems that a separate boot partition may have, in order of preference; empty if the loader has no use for one.
    pub boot_filesystems: &'static [&'static str],
}

/// A bootloader, as its crate registers it.
#[derive(Debug, Clone, Copy)]
pub struct BootloaderPlugin {
    /// The name on the command line.
    pub name: &'static str,
    /// One line for `bootwright plugins`.
    pub summary: &'static str,
    /// What it can do at best.
    pub capabilities: BootloaderCapabilities,
    /// What a new disk must have for it.
    pub partitions: PartitionNeeds,
    /// Whether this machine's boot files show that it is in charge.
    pub detect: fn(&BootContext) -> Result<bool>,
    /// Opens it. No I/O that changes anything.
    pub open: fn(BootContext) -> Result<Arc<dyn Bootloader>>,
}

inventory::collect!(BackendPlugin);
inventory::collect!(BootloaderPlugin);

/// Every backend in this binary, by name.
pub fn backends() -> Vec<&'static BackendPlugin> {
    let mut all: Vec<_> = inventory::iter::<BackendPlugin>().collect();
    all.sort_by_key(|plugin| plugin.name);
    all
}

/// Every bootloader in this binary, by name.
pub fn bootloaders() -> Vec<&'static BootloaderPlugin> {
    let mut all: Vec<_> = inventory::iter::<BootloaderPlugin>().collect();
    all.sort_by_key(|plugin| plugin.name);
    all
}

/// The backend with this name.
///
/// # Errors
/// `NotFound`; the hint lists the names in this binary and says how to add one.
pub fn backend(name: &str) -> Result<&'static BackendPlugin> {
    let all = backends();
    all.iter()
        .find(|plugin| plugin.name == name)
        .copied()
        .ok_or_else(|| unknown("storage backend", name, all.iter().map(|plugin| plugin.name)))
}

/// The bootloader with this name.
///
/// # Errors
/// `NotFound`; the hint lists the names in this binary and says how to add one.
pub fn bootloader(name: &str) -> Result<&'static BootloaderPlugin> {
    let all = bootloaders();
    all.iter()
        .find(|plugin| plugin.name == name)
        .copied()
        .ok_or_else(|| unknown("bootloader", name, all.iter().map(|plugin| plugin.name)))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.collect();
    let listed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Error::not_found(format!("there is no {what} {name:?} in this binary")).with_hint(format!(
        "compiled in: {listed}; a plugin is added by building with the cargo feature of its name"
    ))
}
