//! Boots: from the power button to multi-user.target, with each bootloader in turn.

use std::{num::NonZeroUsize, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use bootwright_conformance::{
    images::OciImage,
    lifecycle::{BOOT, Cell, Installation, install},
    system::{KernelFormat, Systems},
    vm::{Disk, Vm},
};
use serde::Serialize;

use super::{proc, report::Report, say};

/// Bootloaders that are compared.
const LOADERS: [&str; 2] = ["systemd-boot", "uki"];

/// Which start of a machine it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The first after the installation, which also makes the machine's identity and confirms the deployment.
    First,
    /// The one after that.
    Second,
}

/// One boot, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Boot {
    /// From power-on until multi-user.target was reached.
    pub multi_user: f64,
    /// The part of it before the kernel counted time: QEMU's own start, firmware and bootloader.
    pub before_kernel: f64,
    /// Of the processor, by QEMU, until the guest had nothing more to start.
    pub processor: f64,
}

/// Installs `image` once with each loader, and boots it.
///
/// # Errors
/// When an installation or a boot does not succeed.
pub fn measure(
    systems: &Systems,
    image: &OciImage,
    folder: &Path,
    rounds: NonZeroUsize,
    report: &mut Report,
) -> Result<()> {
    let scratch = tempfile::tempdir_in(folder)?;
    let disks = LOADERS.map(|loader| (loader, scratch.path().join(format!("{loader}.img"))));
    let mut installed = Vec::new();
    for (loader, disk) in disks {
        say(&format!("install with {loader}"));
        installed.push((loader, installation(systems, image, loader, &disk)?));
    }
    for round in 1..=rounds.get() {
        for (loader, installation) in &installed {
            say(&format!("round {round} of {rounds}: boot twice with {loader}"));
            let [first, second] = boots(installation).with_context(|| format!("boot with {loader}"))?;
            report.boot(loader, Start::First, first);
            report.boot(loader, Start::Second, second);
        }
    }
    Ok(())
}

fn installation(systems: &Systems, image: &OciImage, loader: &str, disk: &Path) -> Result<Installation> {
    let cell = Cell::new("composefs", loader, KernelFormat::Split);
    install(&systems.programs().bootwright, &cell, image, disk, &[], false)
}

fn boots(installation: &Installation) -> Result<[Boot; 2]> {
    let mut vm = Vm::builder("bench").disk(Disk::overlay(&installation.disk)).build()?;
    let first = boot(&mut vm)?;
    vm.shutdown(BOOT)?;
    let second = boot(&mut vm)?;
    vm.shutdown(BOOT)?;
    Ok([first, second])
}

fn boot(vm: &mut Vm) -> Result<Boot> {
    let start = Instant::now();
    vm.power_on()?;
    vm.wait_ready(BOOT)?;
    // Waits for all units, so that two boots did the same work; the clock is read last.
    let ask = "systemctl is-system-running --wait > /dev/null; \
        systemctl show --property ActiveEnterTimestampMonotonic --value multi-user.target; cat /proc/uptime";
    let answer = vm.run(ask, BOOT)?.success()?.stdout_text();
    let elapsed = start.elapsed().as_secs_f64();
    let processor = vm.process_id().map_or(0.0, proc::seconds_of);
    let (reached, uptime) = clocks(&answer).with_context(|| format!("the guest said: {answer}"))?;
    let before_kernel = elapsed - uptime;
    Ok(Boot { multi_user: before_kernel + reached, before_kernel, processor })
}

/// When the target was reached, and what time it was then: seconds since the kernel started to count.
fn clocks(answer: &str) -> Option<(f64, f64)> {
    let mut lines = answer.lines();
    let microseconds: f64 = lines.next()?.trim().parse().ok()?;
    let uptime: f64 = lines.next()?.split_whitespace().next()?.parse().ok()?;
    (microseconds > 0.0).then_some((microseconds / 1e6, uptime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_of_the_guest_are_read() {
        assert_eq!(clocks("12500000\n20.5 30.1\n"), Some((12.5, 20.5)));
    }

    #[test]
    fn a_target_that_was_never_reached_has_no_time() {
        assert_eq!(clocks("0\n20.5 30.1\n"), None);
        assert_eq!(clocks("\n20.5 30.1\n"), None);
    }
}
