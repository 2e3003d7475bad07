//! Cells of registered plugins, and worlds for them.

use std::path::Path;

use async_trait::async_trait;
use bootwright_core::registry;

use super::LoopWorld;
use crate::{
    host,
    suite::{Cell, Firmware, Missing, Points, Result, Reuse, Tier, World, WorldFactory},
    system::KernelFormat,
};

/// Every registered backend with every registered bootloader and both kernel formats, on UEFI.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for backend in registry::backends() {
        for loader in registry::bootloaders() {
            for format in [KernelFormat::Split, KernelFormat::Unified] {
                cells.push(Cell::uefi(backend.name, loader.name, format));
            }
        }
    }
    cells
}

/// How many points of a verb a sweep tries if nobody says: the tier is to be run for each change.
const POINTS: Points = Points::Few(2);

/// Makes machines with loop-mounted disks.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoopFactory;

#[async_trait]
impl WorldFactory for LoopFactory {
    fn tier(&self) -> Tier {
        Tier::Loop
    }

    fn reuse(&self) -> Reuse {
        Reuse::Restored
    }

    fn can_run(&self, cell: &Cell) -> Result<(), Missing> {
        let missing = |what: &str| Err(Missing(what.to_owned()));
        if registry::backend(&cell.backend).is_err() {
            return missing(&format!("the storage backend {}, which is not in this binary", cell.backend));
        }
        if registry::bootloader(&cell.bootloader).is_err() {
            return missing(&format!("the bootloader {}, which is not in this binary", cell.bootloader));
        }
        if cell.firmware == Firmware::Bios {
            return missing("a BIOS: its boot sectors run in virtual machines only");
        }
        if !host::is_root() {
            return missing("root, to mount disks");
        }
        if !Path::new("/dev/loop-control").exists() {
            return missing("loop devices");
        }
        for (program, package) in [("mkfs.ext4", "e2fsprogs"), ("mkfs.vfat", "dosfstools")] {
            if host::find_program(program).is_none() {
                return missing(&format!("{program} ({package})"));
            }
        }
        Ok(())
    }

    async fn blank(&self, cell: &Cell, points: Option<Points>) -> Result<Box<dyn World>> {
        let backend = registry::backend(&cell.backend)?;
        let loader = registry::bootloader(&cell.bootloader)?;
        Ok(Box::new(LoopWorld::new(cell.clone(), backend, loader, points.unwrap_or(POINTS))?))
    }
}
