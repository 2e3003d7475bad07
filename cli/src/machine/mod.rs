//! The machine that a command runs on: its mounts, its physical root, its EFI system partition.

mod esp;
pub mod failure;
pub mod namespace;
pub mod restart;
mod running;

use std::{path::Path, sync::Arc};

use bootwright_core::{
    IoContext, Result,
    context::{BootDisk, Firmware, PartitionIdentity},
    efi::{AbsentVariables, EfiVariables, EfivarFs},
    fs::{Faults, Root},
    model::KernelCmdline,
};

use crate::disk::{folder::MountFolder, mount::Mount};

/// What a command will do to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look only: nothing is made writable.
    Read,
    /// Change it.
    Write,
}

/// An installed system: the one that runs, or one on a disk that somebody mounted.
#[derive(Debug)]
pub struct Machine {
    /// The physical root.
    pub sysroot: Root,
    /// The root of the running system; `None` for a system on another disk.
    pub running_root: Option<Root>,
    /// The EFI system partition.
    pub esp: Root,
    /// The extended boot loader partition, if the disk has one.
    pub xbootldr: Option<Root>,
    /// Which partition the ESP is, if known.
    pub esp_partition: Option<PartitionIdentity>,
    /// The disk that the ESP is on, if known.
    pub disk: Option<BootDisk>,
    /// What starts the loader.
    pub firmware: Firmware,
    /// The firmware's variables.
    pub efi: Arc<dyn EfiVariables>,
    /// What the running kernel was started with; empty for a system on another disk.
    pub cmdline: KernelCmdline,
    /// Names the present boot.
    pub boot_id: String,
    /// Dropped after the open folders above.
    _mounts: Mounts,
}

/// What has to go away at the end, in this order.
#[derive(Debug, Default)]
struct Mounts {
    _mounts: Vec<Mount>,
    _folder: Option<MountFolder>,
}

impl Machine {
    /// A system on a disk that is not running, with its file systems mounted. It has no firmware.
    ///
    /// # Errors
    /// As opening the folders fails.
    pub fn mounted(sysroot: &Path, esp: &Path) -> Result<Self> {
        Ok(Self {
            sysroot: Root::open(sysroot, Faults::none())?,
            running_root: None,
            esp: Root::open(esp, Faults::none())?,
            xbootldr: None,
            esp_partition: None,
            disk: None,
            firmware: Firmware::Either,
            efi: Arc::new(AbsentVariables),
            cmdline: KernelCmdline::new(),
            boot_id: boot_id()?,
            _mounts: Mounts::default(),
        })
    }
}

/// The firmware of this machine, or none.
pub fn firmware() -> Arc<dyn EfiVariables> {
    match EfivarFs::open() {
        Ok(variables) => Arc::new(variables),
        Err(error) => {
            tracing::debug!(%error, "no firmware to talk to");
            Arc::new(AbsentVariables)
        }
    }
}

/// What started this machine. Linux shows a folder of the firmware only if that is UEFI.
pub fn firmware_kind() -> Firmware {
    if Path::new("/sys/firmware/efi").is_dir() { Firmware::Uefi } else { Firmware::Bios }
}

/// Names the present boot of the kernel (`/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// As reading `/proc` fails.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path).context_io(|| format!("read {path}"))?.trim().to_owned())
}
