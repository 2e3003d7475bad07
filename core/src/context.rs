//! What a plugin is opened with: the places it may touch, and nothing else.

use std::{path::PathBuf, sync::Arc};

use crate::{efi::EfiVariables, fs::Root, model::Stateroot, registry::Verity};

/// Where a storage backend lives.
#[derive(Debug, Clone)]
pub struct BackendContext {
    /// The physical root: the file system that holds the store, `/var` and all deployments.
    pub sysroot: Root,
    /// The root of the running system (its `/etc` is the booted deployment's); `None` when installing elsewhere.
    pub running_root: Option<Root>,
    /// Whose `/var` new deployments use.
    pub stateroot: Stateroot,
    /// Whether a store made now must be able to verify.
    pub verity: Verity,
    /// When what is stored becomes verifiable.
    pub sealing: Sealing,
}

/// When a store that must be verified becomes verifiable by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sealing {
    /// As it is written, by this kernel.
    #[default]
    Now,
    /// By this kernel if it can, otherwise by `seal_offline` after an install.
    Offline,
    /// Never: the store only answers questions about images and is thrown away. Its answers are those of a verified one.
    Scratch,
}

/// A partition of the GUID partition table, as firmware names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionIdentity {
    /// Number, from 1.
    pub number: u32,
    /// First block, in blocks of the disk's logical size.
    pub start: u64,
    /// Length in the same blocks.
    pub size: u64,
    /// Unique GUID, in the byte order in which the table stores it.
    pub guid: [u8; 16],
}

/// What starts the bootloader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// A BIOS, or UEFI's imitation of one.
    Bios,
    /// Not known: the disk is made for a machine that is not here.
    #[default]
    Either,
}

/// The whole disk that a machine boots from, for loaders that BIOS starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDisk {
    /// The block device, or the image file.
    pub path: PathBuf,
    /// Size of its logical sectors in bytes.
    pub sector: u64,
    /// The BIOS boot partition, if it has one.
    pub bios_boot: Option<PartitionIdentity>,
}

/// Where a bootloader lives.
#[derive(Debug, Clone)]
pub struct BootContext {
    /// The EFI system partition.
    pub esp: Root,
    /// The extended boot loader partition, if the disk has one.
    pub xbootldr: Option<Root>,
    /// The physical root, for loaders that can read it.
    pub sysroot: Root,
    /// Which partition the ESP is, for firmware boot options; `None` if unknown (a folder stands in for it).
    pub esp_partition: Option<PartitionIdentity>,
    /// The firmware's variables; a store that reports itself absent where there is no firmware to ask (installing to another disk).
    pub efi: Arc<dyn EfiVariables>,
    /// The whole disk that the ESP is on; `None` if unknown (folders stand in for file systems).
    pub disk: Option<BootDisk>,
    /// What will start the loader.
    pub firmware: Firmware,
}

/// The root file system after an install, no longer mounted.
#[derive(Debug, Clone)]
pub struct OfflineRoot {
    /// The block device or image file that holds it, and nothing but it.
    pub device: PathBuf,
    /// Its type (`ext4`).
    pub filesystem: String,
    /// What was demanded.
    pub verity: Verity,
    /// A folder for notes that the backend left for itself while the file system was mounted.
    pub scratch: PathBuf,
}
