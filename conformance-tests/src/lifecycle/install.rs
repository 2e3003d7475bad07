//! Installing on a disk image, with the host's `bootwright`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Cell, site::ORIGIN};
use crate::{
    host,
    images::{Cache, OciImage},
    system::{INSTALLER, KernelFormat, Programs, Systems},
};

/// Size of a disk in bytes: room for three deployments and their downloads. Sparse on the host.
pub const DISK_SIZE: u64 = 4 << 30;

/// An installed disk.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The raw disk image.
    pub disk: PathBuf,
    /// How long the installation took.
    pub took: Duration,
    /// What it printed.
    pub log: String,
}

/// Deadline of an installation inside an emulated machine.
pub const INSTALLATION: Duration = Duration::from_secs(1800);

/// Makes a disk image at `disk` with a system that has all that it takes to install others.
///
/// # Errors
/// When its image cannot be made, or as [`install`].
pub fn installer(programs: &Programs, disk: &Path) -> Result<Installation> {
    let systems = Systems::with_programs(programs.clone(), Cache::in_target_dir()?)?.for_fixture(&INSTALLER);
    let image = systems.image("v1", KernelFormat::Split)?;
    let cell = Cell::new(INSTALLER.backend, "systemd-boot", KernelFormat::Split);
    install(&programs.bootwright, &cell, &image, disk, &[], false)
}

/// Installs `image` on a new disk image at `disk`, by the program `bootwright`. With `show`, its output goes to the terminal.
///
/// # Errors
/// When the program does not succeed; its output is in the message.
pub fn install(
    bootwright: &Path,
    cell: &Cell,
    image: &OciImage,
    disk: &Path,
    extra: &[&str],
    show: bool,
) -> Result<Installation> {
    File::create(disk).and_then(|file| file.set_len(DISK_SIZE)).context("make a disk image")?;
    install_over(bootwright, cell, &image.reference(), disk, extra, show)
}

/// The same on a disk image that is there.
///
/// # Errors
/// As [`install`].
pub fn install_over(
    bootwright: &Path,
    cell: &Cell,
    image: &str,
    disk: &Path,
    extra: &[&str],
    show: bool,
) -> Result<Installation> {
    let start = Instant::now();
    let mut command = host::privileged(&bootwright.to_string_lossy());
    command.args(["install", "to-disk", "--backend", &cell.backend, "--boot", &cell.bootloader]);
    command.args(["--image", image, "--target-imgref", ORIGIN]).args(extra).arg(disk);
    let log = if show { run_shown(&mut command)? } else { run_captured(&mut command)? };
    Ok(Installation { disk: disk.to_owned(), took: start.elapsed(), log })
}

fn run_shown(command: &mut Command) -> Result<String> {
    let status = command.status().context("start bootwright")?;
    ensure!(status.success(), "bootwright install ended with {status}");
    Ok(String::new())
}

fn run_captured(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("start bootwright")?;
    let log =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "bootwright install ended with {}:\n{log}", output.status);
    Ok(log)
}
