//! Fake plugins by name: one with everything, and one for each thing that a real one may lack.

use async_trait::async_trait;
use bootwright_core::{
    capability::{BackendCapabilities, BootloaderCapabilities},
    fake::{FakeBackend, FakeLoader},
};

use super::FakeWorld;
use crate::{
    suite::{Cell, Missing, Points, Result, Reuse, Tier, World, WorldFactory},
    system::KernelFormat,
};

const ALL_BACKEND: BackendCapabilities =
    BackendCapabilities { offline_seal: true, ..FakeBackend::CAPABILITIES };

const ALL_LOADER: BootloaderCapabilities =
    BootloaderCapabilities { addons: true, one_shot: true, ..FakeLoader::CAPABILITIES };

/// Backends by name.
const BACKENDS: &[(&str, BackendCapabilities)] = &[
    ("fake", ALL_BACKEND),
    ("fake-sealed-at-once", BackendCapabilities { offline_seal: false, ..ALL_BACKEND }),
    (
        "fake-moving-root",
        BackendCapabilities {
            verified_root: false,
            offline_seal: false,
            predictable_root_args: false,
            ..ALL_BACKEND
        },
    ),
];

/// Bootloaders by name.
const LOADERS: &[(&str, BootloaderCapabilities)] = &[
    ("fake", ALL_LOADER),
    (
        "fake-plain",
        BootloaderCapabilities { addons: false, boot_counting: false, one_shot: false, ..ALL_LOADER },
    ),
    ("fake-split-only", BootloaderCapabilities { unified_kernels: false, addons: false, ..ALL_LOADER }),
    ("fake-unified-only", BootloaderCapabilities { split_kernels: false, ..ALL_LOADER }),
];

/// Every pair of fakes with every kernel format that it can boot.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (backend, can) in BACKENDS {
        for (loader, starts) in LOADERS {
            for format in [KernelFormat::Split, KernelFormat::Unified] {
                let boots = match format {
                    KernelFormat::Split => starts.split_kernels,
                    KernelFormat::Unified => {
                        starts.unified_kernels && (can.predictable_root_args || starts.addons)
                    }
                };
                if boots {
                    cells.push(Cell::uefi(backend, loader, format));
                }
            }
        }
    }
    cells
}

/// How many points of a verb a sweep tries if nobody says: an answer within seconds. All are tried for each change (`--ci`).
const POINTS: Points = Points::Few(2);

/// Makes machines in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeFactory;

fn of<T: Copy>(list: &[(&str, T)], name: &str) -> Option<T> {
    list.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

#[async_trait]
impl WorldFactory for FakeFactory {
    fn tier(&self) -> Tier {
        Tier::Fakes
    }

    fn reuse(&self) -> Reuse {
        Reuse::No
    }

    fn can_run(&self, cell: &Cell) -> Result<(), Missing> {
        let known = of(BACKENDS, &cell.backend).is_some() && of(LOADERS, &cell.bootloader).is_some();
        if known { Ok(()) } else { Err(Missing("plugins in memory".to_owned())) }
    }

    async fn blank(&self, cell: &Cell, points: Option<Points>) -> Result<Box<dyn World>> {
        let plugins = of(BACKENDS, &cell.backend).zip(of(LOADERS, &cell.bootloader));
        let (backend, loader) = plugins.ok_or_else(|| anyhow::anyhow!("{cell} is not made of fakes"))?;
        Ok(Box::new(FakeWorld::new(cell.clone(), backend, loader, points.unwrap_or(POINTS))?))
    }
}
