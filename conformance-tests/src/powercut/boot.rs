//! Boots what a power cut left, by a real machine, and uses it.

use std::{io::Write as _, time::Instant};

use anyhow::{Context as _, Result, ensure};

use super::{
    check::Bootable,
    judge::NOTHING,
    life::{Life, MARKER, Verb},
};
use crate::{
    lifecycle::{self, BOOT, Guest, IMAGES_LABEL, install_over},
    vm::{Disk, Vars, Vm},
};

/// Boots it, checks what came up, and runs every verb once. Where an installation was cut and nothing boots, it is installed again before.
///
/// # Errors
/// When another version comes up than the oracle said, data is lost, or a verb fails.
pub fn boot(life: &Life, state: &Bootable) -> Result<()> {
    let start = Instant::now();
    if state.version == NOTHING {
        install_again(life, state).context("install it again")?;
    }
    let mut variables = tempfile::NamedTempFile::new()?;
    variables.write_all(&state.variables)?;
    let builder = life.cell.firmware.of(Vm::builder("power-cut")).disk(Disk::raw(state.disk.path()));
    let builder = builder.vars(Vars::CopyOf(variables.path().to_owned()));
    let mut guest = Guest::attach(builder.folder(IMAGES_LABEL, life.site.folder()).start()?)?;
    let used = use_it(&mut guest, life, state);
    if let Err(error) = used {
        let said = guest
            .sh("dmesg | grep -i -e fat -e ext4 -e xfs -e btrfs | tail -n 20 || true")
            .unwrap_or_default();
        return Err(error.context(format!("the kernel said:\n{said}")));
    }
    let what = match state.version {
        NOTHING => "was installed again, came up and works".to_owned(),
        version => format!("{version} came up and works"),
    };
    println!("{:6.1} s  {}: {what}: {}", start.elapsed().as_secs_f32(), state.verb.name(), state.name);
    Ok(())
}

/// Installs over what is there, on this machine.
fn install_again(life: &Life, state: &Bootable) -> Result<()> {
    let cell = lifecycle::Cell::new(&life.cell.backend, &life.cell.bootloader, life.cell.format);
    let image = format!("oci:{}:latest", life.site.folder().join(state.verb.leads_to()).display());
    let options = [life.layout.file_system.install_options(), &["--wipe"]].concat();
    install_over(&life.bootwright, &cell, &image, state.disk.path(), &options, false).map(drop)
}

fn use_it(guest: &mut Guest, life: &Life, state: &Bootable) -> Result<()> {
    // What a trial fell back to comes up, and reboots at once to try it again.
    guest.settle_at_last(BOOT)?;
    let version = guest.version()?;
    let expected = if state.version == NOTHING { state.verb.leads_to() } else { state.version };
    ensure!(version == expected, "{version} came up; the oracle said {}", state.version);
    for marker in life.markers {
        let text = guest.file(&format!("/{marker}"))?.context("a marker is lost")?;
        ensure!(text == MARKER.trim_end(), "/{marker} is changed");
    }
    let status = guest.status()?;
    ensure!(status.version("booted") == Some(&version), "status does not say that {version} runs");
    for verb in ["fsck", "gc"] {
        guest.sh(&format!("bootwright {verb}"))?;
    }
    let other = if version == "v2" { "v3" } else { "v2" };
    guest.offer(other)?;
    guest.sh("bootwright upgrade")?;
    // What was rolled back, or did not come up on trial, is not offered again.
    if matches!(state.verb, Verb::Install | Verb::Upgrade | Verb::Finalise | Verb::Switch) {
        ensure!(guest.status()?.version("staged") == Some(other), "{other} is not staged");
    }
    if guest.status()?.version("rollback").is_some() {
        guest.sh("bootwright rollback")?;
    }
    // All boot files once more: what was cleaned up must not have taken anything else along.
    guest.sh("bootwright fsck").map(drop)
}
