//! One system through its whole life: installed on a disk by the host's `bootwright`, then booted, upgraded and rolled back in a
//! virtual machine by the guest's.
//!
//! [`Site`] prepares what a machine needs once; [`Guest`] is the running machine, with one method per thing that a person would do.

mod guest;
mod install;
mod offline;
mod site;
mod status;

pub use guest::{BOOT, COMMAND, Guest, LONG};
pub use install::{DISK_SIZE, INSTALLATION, Installation, install, install_over, installer};
pub use offline::{OfflineDisk, PLANTED};
pub use site::{IMAGES_LABEL, ORIGIN, Site, retagged};
pub use status::GuestStatus;

use crate::system::KernelFormat;

/// One combination under test.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Storage backend.
    pub backend: String,
    /// Bootloader.
    pub bootloader: String,
    /// Kernel format.
    pub format: KernelFormat,
}

impl Cell {
    /// A combination by name.
    pub fn new(backend: &str, bootloader: &str, format: KernelFormat) -> Self {
        Self { backend: backend.to_owned(), bootloader: bootloader.to_owned(), format }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}+{}", self.backend, self.bootloader, self.format.name())
    }
}
