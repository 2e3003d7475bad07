//! `matrix.toml`: the exact set of cells that have to work, and those that cannot, with the reason.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    suite::{Cell, Firmware, Tier},
    system::KernelFormat,
};

/// How much of the suite the virtual machine of a cell goes through for each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ci {
    /// Nothing: it is booted when somebody asks for it.
    OnDemand,
    /// Installed, booted, upgraded, rolled back.
    Short,
    /// The same, with a boot partition.
    BootPartition,
    /// The same, on a root that nothing verifies.
    Btrfs,
    /// And on this one.
    Xfs,
    /// The whole lifecycle.
    Full,
}

/// One cell, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixCell {
    /// Storage backend.
    pub backend: String,
    /// Bootloader.
    pub bootloader: String,
    format: String,
    firmware: String,
    /// How much its virtual machine goes through for each change.
    pub ci: Ci,
}

/// A cell that cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impossible {
    /// Bootloaders that it is about.
    pub bootloader: String,
    /// Kernel format.
    pub format: String,
    /// Firmware.
    pub firmware: String,
    /// Why.
    pub reason: String,
}

/// A case that is known not to hold on a cell yet. It is run, shown as ignored with the reason while it fails, and a failure once it holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownDefect {
    /// Storage backend.
    pub backend: String,
    /// Bootloader.
    pub bootloader: String,
    /// Kernel format.
    pub format: String,
    /// Tier in which it was seen.
    pub tier: String,
    /// The case's whole name.
    pub case: String,
    /// What is wrong, for people.
    pub reason: String,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// What has to work.
    #[serde(rename = "cell")]
    pub cells: Vec<MatrixCell>,
    /// What cannot.
    #[serde(default)]
    pub impossible: Vec<Impossible>,
    /// What does not hold yet.
    #[serde(default, rename = "known-defect")]
    pub known_defects: Vec<KnownDefect>,
}

impl MatrixCell {
    /// As the suite names it.
    ///
    /// # Errors
    /// For a format or firmware that is none.
    pub fn cell(&self) -> Result<Cell> {
        let format = match self.format.as_str() {
            "split" => KernelFormat::Split,
            "unified" => KernelFormat::Unified,
            other => anyhow::bail!("{other:?} is no kernel format: split or unified"),
        };
        let firmware = match self.firmware.as_str() {
            "uefi" => Firmware::Uefi,
            "bios" => Firmware::Bios,
            other => anyhow::bail!("{other:?} is no firmware: uefi or bios"),
        };
        let (backend, bootloader) = (self.backend.clone(), self.bootloader.clone());
        Ok(Cell { backend, bootloader, format, firmware })
    }
}

impl Matrix {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// For malformed text, an unknown word, or a cell that is there twice.
    pub fn parse(text: &str) -> Result<Self> {
        let matrix: Self = toml::from_str(text).context("matrix.toml")?;
        let mut seen = std::collections::BTreeSet::new();
        for cell in &matrix.cells {
            let cell = cell.cell()?;
            anyhow::ensure!(seen.insert(cell.clone()), "matrix.toml has {cell} twice");
        }
        Ok(matrix)
    }

    /// This project's own.
    ///
    /// # Errors
    /// As [`Matrix::parse`], and when it cannot be read.
    pub fn of_this_project() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix.toml");
        Self::parse(&std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?)
    }

    /// Every cell.
    pub fn all(&self) -> Vec<Cell> {
        self.cells.iter().filter_map(|cell| cell.cell().ok()).collect()
    }

    /// Why a cell cannot exist; `None` if nothing in the file says that it cannot.
    pub fn reason_against(&self, cell: &Cell) -> Option<&str> {
        let named = [cell.bootloader.as_str(), cell.format.name(), cell.firmware.name()];
        let is = |one: &&Impossible| [&one.bootloader, &one.format, &one.firmware] == named;
        self.impossible.iter().find(is).map(|one| one.reason.as_str()).filter(|reason| !reason.is_empty())
    }

    /// What does not hold yet on a cell.
    pub fn defects(&self, tier: Tier, cell: &Cell) -> Vec<KnownDefect> {
        let of_cell = |defect: &&KnownDefect| {
            defect.tier == tier.name()
                && defect.backend == cell.backend
                && defect.bootloader == cell.bootloader
                && defect.format == cell.format.name()
        };
        self.known_defects.iter().filter(of_cell).cloned().collect()
    }

    /// In which runs a cell's virtual machines are started.
    pub fn ci(&self, cell: &Cell) -> Option<Ci> {
        self.cells.iter().find(|entry| entry.cell().ok().as_ref() == Some(cell)).map(|entry| entry.ci)
    }
}
