//! One combination under test, and where it runs.

use super::{Property, fakes, loops, vm};
use crate::{system::KernelFormat, vm::VmBuilder};

/// What starts the bootloader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Firmware {
    /// UEFI, with variables and an EFI system partition.
    Uefi,
    /// A legacy BIOS: no variables.
    Bios,
}

impl Firmware {
    /// The word in `matrix.toml` and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
        }
    }

    /// Makes it what starts this machine.
    pub fn of(self, machine: VmBuilder) -> VmBuilder {
        match self {
            Self::Uefi => machine,
            Self::Bios => machine.bios(),
        }
    }
}

/// How real a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Plugins in memory: milliseconds, no root.
    Fakes,
    /// Real plugins on loop-mounted disks, boot files read by an oracle: seconds, needs root.
    Loop,
    /// Virtual machines with real firmware and a real kernel: minutes.
    Vm,
}

impl Tier {
    /// Every tier, the cheapest first.
    pub const ALL: [Self; 3] = [Self::Fakes, Self::Loop, Self::Vm];

    /// What its worlds can do beyond the ordinary.
    pub const fn properties(self) -> &'static [Property] {
        match self {
            Self::Fakes => fakes::PROPERTIES,
            Self::Loop => loops::PROPERTIES,
            Self::Vm => vm::PROPERTIES,
        }
    }

    /// The word on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fakes => "fakes",
            Self::Loop => "loop",
            Self::Vm => "vm",
        }
    }
}

/// One combination: a backend, a bootloader, a kernel format, a firmware.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Registered name of the storage backend.
    pub backend: String,
    /// Registered name of the bootloader.
    pub bootloader: String,
    /// Kernel format of the images.
    pub format: KernelFormat,
    /// What starts the bootloader.
    pub firmware: Firmware,
}

impl Cell {
    /// A combination on UEFI.
    pub fn uefi(backend: &str, bootloader: &str, format: KernelFormat) -> Self {
        let (backend, bootloader) = (backend.to_owned(), bootloader.to_owned());
        Self { backend, bootloader, format, firmware: Firmware::Uefi }
    }
}

/// `backend+bootloader+format`, and the firmware unless it is UEFI.
impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}+{}", self.backend, self.bootloader, self.format.name())?;
        if self.firmware == Firmware::Uefi { Ok(()) } else { write!(f, "+{}", self.firmware.name()) }
    }
}
