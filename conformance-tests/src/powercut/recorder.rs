//! Switches machines on whose disk and variables are recorded, each time anew.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    life::copy,
    timeline::{Layout, Timeline},
};
use crate::{
    lifecycle::{Guest, IMAGES_LABEL, Site},
    vm::{Disk, Recorded, Vm, VmBuilder},
};

/// A disk with variables, and what was recorded of it.
#[derive(Debug)]
pub struct Recorder<'a> {
    folder: &'a Path,
    site: &'a Site,
    file: PathBuf,
    disk_size: u64,
    variables_size: u64,
    logs: Vec<PathBuf>,
    consoles: Vec<String>,
}

impl<'a> Recorder<'a> {
    /// Records what happens to a copy of `base`: a disk of so many bytes, and behind it a variable store, which has none on machines with a BIOS. Files are put into `folder`.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn new(
        folder: &'a Path,
        site: &'a Site,
        base: &Path,
        disk_size: u64,
        variables_size: u64,
    ) -> Result<Self> {
        let file = folder.join("recorded.img");
        copy(base, &file)?;
        let (logs, consoles) = (Vec::new(), Vec::new());
        Ok(Self { folder, site, file, disk_size, variables_size, logs, consoles })
    }

    /// The file, as the machine left it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Switches a machine on that has it as its first disk, and the images attached, and waits until its units are done. `more` adds to the machine.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn switch_on(&mut self, more: impl FnOnce(VmBuilder) -> VmBuilder) -> Result<Guest> {
        let log = self.folder.join(format!("log{}", self.logs.len()));
        File::create(&log)?;
        let recorded = Recorded {
            file: self.file.clone(),
            disk_size: self.disk_size,
            variables_size: self.variables_size,
            log: log.clone(),
        };
        self.logs.push(log);
        let machine = more(Vm::builder("recorded").recorded(recorded));
        let images = Disk::folder(IMAGES_LABEL, self.site.folder());
        let mut guest = Guest::attach(machine.disk(images).start()?)?;
        guest.settle()?;
        Ok(guest)
    }

    /// How much was logged so far since it was switched on, in bytes.
    ///
    /// # Errors
    /// When it was never switched on.
    pub fn position(&self) -> Result<u64> {
        let log = self.logs.last().context("nothing is recorded")?;
        Ok(std::fs::metadata(log)?.len())
    }

    /// Cuts the power, if it is on still, and keeps what the machine said.
    pub fn switched_off(&mut self, guest: &mut Guest) {
        guest.vm().power_cut();
        self.consoles.push(guest.vm().serial_text());
    }

    /// All that was recorded, of a disk with this layout, and what the machines said.
    ///
    /// # Errors
    /// When it is no log, or does not fit the layout.
    pub fn end(self, layout: &Layout) -> Result<(Timeline, Vec<String>)> {
        let mut timeline = Timeline::default();
        for log in &self.logs {
            timeline.add(std::fs::read(log)?, layout)?;
            std::fs::remove_file(log)?;
        }
        std::fs::remove_file(&self.file)?;
        Ok((timeline, self.consoles))
    }
}
