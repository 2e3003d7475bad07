//! The running machine, as a person uses it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{GuestStatus, Installation, Site, site::IMAGES_LABEL};
use crate::vm::{Disk, Output, Vm};

/// Deadline of a shutdown, with what is finalised in it, and the boot after it, under emulation on a busy host; a quiet one takes a minute.
pub const BOOT: Duration = Duration::from_secs(600);
/// Deadline of a short command.
pub const COMMAND: Duration = Duration::from_secs(60);
/// Deadline of an upgrade or a check of the whole store.
pub const LONG: Duration = Duration::from_secs(600);

/// A machine with an installed system.
#[derive(Debug)]
pub struct Guest {
    vm: Vm,
    /// Whether a disk with images is attached, to be mounted at each boot.
    images: bool,
}

impl Guest {
    /// Starts a machine on an overlay of the installed disk, with the images of `site` attached, and waits for its agent.
    ///
    /// # Errors
    /// When it does not come up in time; the message has the end of its console.
    pub fn start(name: &str, installation: &Installation, site: &Site) -> Result<Self> {
        let builder = Vm::builder(name).disk(Disk::overlay(&installation.disk));
        let vm = builder.folder(IMAGES_LABEL, site.folder()).start()?;
        Self::attach(vm)
    }

    /// Waits for the agent of a machine that was started already.
    ///
    /// # Errors
    /// As [`Guest::start`].
    pub fn attach(vm: Vm) -> Result<Self> {
        let mut guest = Self { vm, images: true };
        guest.booted()?;
        Ok(guest)
    }

    /// A machine without a disk of images, which need not be on yet.
    pub fn bare(vm: Vm) -> Self {
        Self { vm, images: false }
    }

    /// Waits until the agent of a machine that was switched on is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn booted(&mut self) -> Result<()> {
        self.vm.wait_ready(BOOT)?;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        if self.images {
            self.vm.mount_folder(IMAGES_LABEL, COMMAND)?;
        }
        Ok(())
    }

    /// The machine itself.
    pub fn vm(&mut self) -> &mut Vm {
        &mut self.vm
    }

    /// Runs a shell command that has to succeed, and returns its standard output without white space at the end.
    ///
    /// # Errors
    /// When it does not succeed, or not in time.
    pub fn sh(&mut self, command: &str) -> Result<String> {
        Ok(self.vm.run(command, LONG)?.success()?.stdout_text().trim_end().to_owned())
    }

    /// Runs a shell command that may fail.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub fn try_sh(&mut self, command: &str) -> Result<Output> {
        self.vm.run(command, LONG)
    }

    /// Makes the image `name` of the site what the origin names from now on.
    ///
    /// # Errors
    /// As [`Guest::sh`].
    pub fn offer(&mut self, name: &str) -> Result<()> {
        let link = "/var/lib/images/current";
        let layout = Site::layout_in_guest(name);
        self.sh(&format!("mkdir -p /var/lib/images && ln -sfn {layout} {link}"))?;
        Ok(())
    }

    /// What `bootwright status --json` says.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn status(&mut self) -> Result<GuestStatus> {
        GuestStatus::parse(&self.sh("bootwright status --json")?)
    }

    /// Version that runs, from a file in `/usr`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn version(&mut self) -> Result<String> {
        self.sh("cat /usr/share/marker/version")
    }

    /// Reboots, and waits until the agent is ready again.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn reboot(&mut self) -> Result<()> {
        self.reboot_within(BOOT)
    }

    /// The same with another deadline, for boots that fail first.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn reboot_within(&mut self, patience: Duration) -> Result<()> {
        self.vm.reboot_and_wait(patience).context("reboot")?;
        self.mount()
    }

    /// Restarts user space alone, and waits until the agent is ready again.
    ///
    /// # Errors
    /// When it is not in time, or systemd did not count it.
    pub fn soft_reboot(&mut self) -> Result<()> {
        const COUNT: &str = "systemctl show --value --property SoftRebootsCount";
        let before = self.sh(COUNT)?;
        self.vm.soft_reboot_and_wait(BOOT).context("restart user space")?;
        ensure!(self.sh(COUNT)? != before, "there was no soft reboot: systemd still counts {before}");
        self.mount()
    }

    /// As [`Guest::settle`], through boots that come up and are left again by the machine itself.
    ///
    /// # Errors
    /// When no boot settles, and no other one follows in time.
    pub fn settle_at_last(&mut self, patience: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let before = self.vm.boot_id().context("the machine was never ready")?;
            let Err(error) = self.settle() else { break };
            let left = patience.saturating_sub(start.elapsed());
            self.vm.wait_next_boot(&before, left).with_context(|| format!("after {error:#}"))?;
        }
        self.vm.expected_failure();
        self.mount()
    }

    /// Reboots, waits, and checks that `version` runs.
    ///
    /// # Errors
    /// When another version runs, or none in time.
    pub fn reboot_into(&mut self, version: &str) -> Result<()> {
        self.reboot()?;
        let running = self.version()?;
        ensure!(running == version, "{running} runs, {version} was expected\n{}", self.tail());
        Ok(())
    }

    /// Waits until the units of this boot are done, so that the boot is confirmed and old deployments are gone.
    ///
    /// # Errors
    /// When a unit failed.
    pub fn settle(&mut self) -> Result<()> {
        let state = self.vm.run("systemctl is-system-running --wait", LONG)?.stdout_text();
        if state.trim() == "running" {
            return Ok(());
        }
        let units = self.sh("systemctl --failed --no-legend --plain | while read -r unit rest; do
                 echo \"$unit $rest\"; journalctl -b --no-pager -u \"$unit\" | tail -5
             done; journalctl -b --no-pager -u 'bootwright-*' | tail -40")?;
        anyhow::bail!("the system is {}: {units}", state.trim())
    }

    /// Text of a file in the guest, or `None` if there is none.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub fn file(&mut self, path: &str) -> Result<Option<String>> {
        let output = self.vm.run(&format!("cat {path}"), COMMAND)?;
        Ok((output.status == 0).then(|| output.stdout_text().trim_end().to_owned()))
    }

    /// The end of the console.
    fn tail(&self) -> String {
        let text = self.vm.serial_text();
        let lines: Vec<_> = text.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }

    /// Where the machine keeps its files.
    pub fn dir(&self) -> &Path {
        self.vm.dir()
    }
}
