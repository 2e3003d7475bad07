//! Power cuts at the level of devices: a small part of what `cargo xtask power-cuts` looks at. Needs root.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bootwright_conformance::powercut::scratch::in_own_namespace;

fn power_cuts(arguments: &[&str]) -> Result<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_bootwright-power-cuts"));
    let status = in_own_namespace(program).args(arguments).status().context("start the power cuts")?;
    ensure!(status.success(), "a power cut leaves what it must not; see above");
    Ok(())
}

/// spec: BW-001, BW-004, BW-401, BW-901
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_power_cut_while_an_upgrade_is_finalised_leaves_the_old_or_the_new_system() -> Result<()> {
    let cell = ["--backend", "composefs", "--boot", "systemd-boot", "--format", "split"];
    let amount = ["--verb", "upgrade", "--verb", "finalise", "--states", "150", "--boots", "1"];
    power_cuts(&[cell.as_slice(), &amount].concat())
}

/// spec: BW-708
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_power_cut_while_a_disk_is_installed_leaves_nothing_or_a_whole_system_and_one_after_it_the_latter()
-> Result<()> {
    let cell =
        ["--backend", "composefs", "--boot", "systemd-boot", "--format", "split", "--firmware", "uefi"];
    let amount = ["--verb", "install", "--states", "150", "--boots", "0"];
    power_cuts(&[cell.as_slice(), &amount].concat())
}
