//! Describes a machine before it is switched on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{accel::Accel, disk::Disk, firmware::Firmware, machine::Vm, qemu::Settings, recorded::Recorded};
use crate::host;

/// The firmware variables that a machine starts with. Each machine writes only its own copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Vars {
    /// As on a machine that was never switched on.
    #[default]
    Fresh,
    /// A copy of this variable store, for example of another machine's ([`Vm::vars_file`]).
    CopyOf(PathBuf),
}

/// A machine that is being described; made by [`Vm::builder`].
#[derive(Debug, Clone)]
pub struct VmBuilder {
    name: String,
    disks: Vec<Disk>,
    vars: Vars,
    firmware: Option<Firmware>,
    bios: bool,
    processors: u32,
    memory_mib: u32,
    watchdog: bool,
    recorded: Option<Recorded>,
    extra: Vec<String>,
    folder: Option<PathBuf>,
}

impl VmBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            disks: Vec::new(),
            vars: Vars::Fresh,
            firmware: None,
            bios: false,
            processors: 1,
            memory_mib: 1024,
            watchdog: false,
            recorded: None,
            extra: Vec::new(),
            folder: None,
        }
    }

    /// Attaches a disk. In the guest the first one is `/dev/vda` and `/dev/disk/by-id/virtio-disk0`.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Attaches the contents of a folder as a read-only disk; see [`Vm::mount_folder`].
    #[must_use]
    pub fn folder(self, label: &str, path: impl Into<PathBuf>) -> Self {
        self.disk(Disk::folder(label, path))
    }

    /// Sets what the firmware remembers.
    #[must_use]
    pub fn vars(mut self, vars: Vars) -> Self {
        self.vars = vars;
        self
    }

    /// Uses this firmware instead of the distribution's.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = Some(firmware);
        self
    }

    /// Starts the machine by a BIOS instead of UEFI. It has no variables then.
    #[must_use]
    pub fn bios(mut self) -> Self {
        self.bios = true;
        self
    }

    /// Sets the number of processors (1 if not called: machines that are emulated side by side are ready no later than with more).
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Sets the size of the memory in MiB (1024 if not called).
    #[must_use]
    pub fn memory_mib(mut self, size: u32) -> Self {
        self.memory_mib = size;
        self
    }

    /// Adds a watchdog (i6300esb) that resets the machine.
    #[must_use]
    pub fn watchdog(mut self) -> Self {
        self.watchdog = true;
        self
    }

    /// Makes a file with a disk and the firmware's variables the first disk, and records what is written to both.
    #[must_use]
    pub fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = Some(recorded);
        self
    }

    /// Adds arguments to QEMU's command line.
    #[must_use]
    pub fn qemu_arguments(mut self, arguments: &[&str]) -> Self {
        self.extra.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Puts the folder of the machine here and leaves it, instead of making one that is removed at the end.
    /// An older folder of that name is replaced.
    #[must_use]
    pub fn keep_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Makes the machine's folder and disks, without switching it on.
    ///
    /// # Errors
    /// When a disk image or the firmware is missing, or a tool that makes disks does not succeed.
    pub fn build(self) -> Result<Vm> {
        // What may be missing comes before the folder; later failures remove it, by way of the machine's own
        // clean-up.
        let firmware = match &self.firmware {
            _ if self.bios => None,
            Some(firmware) => Some(firmware.clone()),
            None => Some(Firmware::find()?),
        };
        let accel = Accel::from_environment()?;
        let dir = self.make_dir()?;
        let settings = Settings {
            dir: dir.clone(),
            accel,
            processors: self.processors,
            memory_mib: self.memory_mib,
            firmware_code: firmware.as_ref().map(|firmware| firmware.code.clone()),
            drives: Vec::new(),
            watchdog: self.watchdog,
            recorded: self.recorded.clone(),
            extra: self.extra.clone(),
        };
        let mut vm = Vm::new(self.name.clone(), settings, self.folder.is_some());
        if let Some(firmware) = &firmware {
            let template = if let Vars::CopyOf(file) = &self.vars { file } else { &firmware.vars };
            copy_vars(template, &dir)?;
        }
        let taken = usize::from(self.recorded.is_some());
        for (index, disk) in self.disks.iter().enumerate() {
            vm.add_drive(disk.prepare(&dir, index + taken)?);
        }
        Ok(vm)
    }

    /// Makes the machine and switches it on.
    ///
    /// # Errors
    /// As [`VmBuilder::build`], and when QEMU does not start.
    pub fn start(self) -> Result<Vm> {
        let mut vm = self.build()?;
        vm.power_on()?;
        Ok(vm)
    }

    fn make_dir(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.folder {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| format!("cannot replace {}", folder.display()))?;
            }
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            return Ok(folder.canonicalize()?);
        }
        let parent = host::target_dir().join("vm");
        fs::create_dir_all(&parent)?;
        let prefix = format!("{}-", self.name);
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent.canonicalize()?)?;
        Ok(dir.keep())
    }
}

fn copy_vars(template: &Path, dir: &Path) -> Result<()> {
    let copy = dir.join("vars.fd");
    fs::copy(template, &copy).with_context(|| format!("cannot copy {}", template.display()))?;
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    Ok(fs::set_permissions(&copy, writable)?)
}
