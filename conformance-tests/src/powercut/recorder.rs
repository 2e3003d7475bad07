//! Switches machines on whose disk and variables are recorded, each time anew.

use std::{
    fs::File,
    io::Write as _,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    life::{Life, Marks, Window, copy},
    root_file_system::RootFileSystem,
    timeline::{Layout, Timeline},
};
use crate::{
    lifecycle::{DISK_SIZE, Guest, IMAGES_LABEL, Site},
    suite::{Cell, Firmware},
    system::Systems,
    vm::{self, Disk, Recorded, Vm},
};

/// A disk with variables, and what was recorded of it.
#[derive(Debug)]
pub struct Recorder {
    cell: Cell,
    bootwright: PathBuf,
    site: Site,
    folder: PathBuf,
    base: PathBuf,
    file: PathBuf,
    variables_size: u64,
    logs: Vec<PathBuf>,
    consoles: Vec<String>,
}

impl Recorder {
    /// Records what happens to a copy of `base`, a disk of [`DISK_SIZE`], to which it adds the variables of a machine that was never switched on.
    /// Files are put into `folder`.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn new(systems: &Systems, cell: &Cell, folder: &Path, site: Site, base: PathBuf) -> Result<Self> {
        let variables_size = append_variables(&base, cell.firmware)?;
        let file = folder.join("recorded.img");
        copy(&base, &file)?;
        let (cell, folder) = (cell.clone(), folder.to_owned());
        let bootwright = systems.programs().bootwright.clone();
        let (logs, consoles) = (Vec::new(), Vec::new());
        Ok(Self { cell, bootwright, site, folder, base, file, variables_size, logs, consoles })
    }

    /// Switches a machine on that has it as its first disk, and the images attached, and waits until its units are done. With `installer`, a disk with
    /// a system, UEFI starts that, whatever starts the cell.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn switch_on(&mut self, installer: Option<Disk>) -> Result<Guest> {
        let log = self.folder.join(format!("log{}", self.logs.len()));
        File::create(&log)?;
        let (file, variables_size) = (self.file.clone(), self.variables_size);
        let recorded = Recorded { file, disk_size: DISK_SIZE, variables_size, log: log.clone() };
        self.logs.push(log);
        let machine = Vm::builder("recorded").recorded(recorded);
        let machine = match installer {
            Some(disk) => machine.disk(disk),
            None => self.cell.firmware.of(machine),
        };
        let mut guest = Guest::attach(machine.folder(IMAGES_LABEL, self.site.folder()).start()?)?;
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

    /// What was recorded, of a disk with such a root, with the marks of each time that it was on.
    ///
    /// # Errors
    /// When it is no log, or the disk has no partitions.
    pub fn life(
        self,
        root: RootFileSystem,
        marks: &[Marks],
        markers: &'static [&'static str],
    ) -> Result<Life> {
        let (layout, esp_guid) = partitions(&self.file, root).context("the disk that was recorded")?;
        let mut timeline = Timeline::default();
        for log in &self.logs {
            timeline.add(std::fs::read(log)?, &layout)?;
            std::fs::remove_file(log)?;
        }
        std::fs::remove_file(&self.file)?;
        let windows = windows(&timeline, marks);
        let Self { cell, bootwright, site, base, variables_size, consoles, .. } = self;
        Ok(Life {
            cell,
            base,
            layout,
            variables_size,
            esp_guid,
            timeline,
            windows,
            markers,
            consoles,
            site,
            bootwright,
        })
    }
}

/// What ran when, by what was logged each time the machine was on.
fn windows(timeline: &Timeline, marks: &[Marks]) -> Vec<Window> {
    let mut found = Vec::new();
    for (number, marks) in marks.iter().enumerate() {
        for (verb, bytes) in marks {
            let events = timeline.event_at(number, bytes.start)..timeline.event_at(number, bytes.end);
            found.push(Window { verb: *verb, events });
        }
    }
    found
}

/// Puts the variables of a machine that was never switched on behind the disk, if it has any; returns their size.
fn append_variables(file: &Path, firmware: Firmware) -> Result<u64> {
    if firmware == Firmware::Bios {
        return Ok(0);
    }
    let variables = std::fs::read(vm::Firmware::find()?.vars)?;
    let mut file = File::options().append(true).open(file)?;
    ensure!(file.metadata()?.len() == DISK_SIZE, "the disk changed its size");
    file.write_all(&variables)?;
    Ok(variables.len() as u64)
}

/// The first two partitions of the GUID partition table (UEFI specification, section 5.3) of a disk, and the first one's GUID.
fn partitions(file: &Path, file_system: RootFileSystem) -> Result<(Layout, [u8; 16])> {
    const SECTOR: u64 = 512;
    let file = File::open(file)?;
    let mut table = [0; 256];
    file.read_exact_at(&mut table, 2 * SECTOR)?;
    let number = |at: usize| -> Result<u64> {
        let bytes = table.get(at..at + 8).context("a short table")?;
        Ok(u64::from_le_bytes(bytes.try_into()?) * SECTOR)
    };
    let range = |at: usize| -> Result<Range<u64>> { Ok(number(at + 32)?..number(at + 40)? + SECTOR) };
    let (esp, root, disk) = (range(0)?, range(128)?, DISK_SIZE);
    ensure!(
        esp.start > 0 && esp.end <= root.start && root.end <= disk,
        "no ESP and root on {esp:?} {root:?}"
    );
    let guid = table.get(16..32).context("a short table")?.try_into()?;
    Ok((Layout { disk, esp, root, file_system }, guid))
}
