//! Root file systems other than ext4, and a root that need not be verified: installed, booted, upgraded.

use anyhow::{Result, ensure};
use bootwright_conformance::{
    images::Cache,
    lifecycle::{Cell, Guest, Site, install},
    system::{KernelFormat, Systems},
};

/// Installs on `filesystem` without verification, boots it, and upgrades it.
fn unverified(filesystem: &str) -> Result<()> {
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let (one, two) = (systems.image("v1", KernelFormat::Split)?, systems.image("v2", KernelFormat::Split)?);
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let site = Site::make(&scratch.path().join("site"), &[("v2", &two)])?;
    let cell = Cell::new("composefs", "uki", KernelFormat::Split);
    let disk = scratch.path().join("disk.img");
    let extra = ["--filesystem", filesystem, "--allow-missing-verity"];
    let installation = install(&systems.programs().bootwright, &cell, &one, &disk, &extra, false)?;
    let mut guest = Guest::start(&format!("on-{filesystem}"), &installation, &site)?;

    guest.settle()?;
    let kind = guest.sh("findmnt -no FSTYPE /sysroot")?;
    ensure!(kind == filesystem, "the physical root is {kind}");
    let cmdline = guest.sh("cat /proc/cmdline")?;
    ensure!(cmdline.contains("=?"), "verification is optional on the command line: {cmdline}");
    let status = guest.status()?;
    let verified = status.get("/status/booted/bootwright/verified").and_then(serde_json::Value::as_bool);
    ensure!(verified == Some(false), "status says that the root is not verified");
    let shown = guest.sh("bootwright status")?;
    ensure!(shown.contains("not verified"), "a person is told as well: {shown}");

    guest.offer("v2")?;
    guest.sh("bootwright upgrade")?;
    guest.reboot_into("v2")
}

/// spec: BW-602, BW-808
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_system_on_btrfs_without_verification_boots_and_upgrades_and_says_so() -> Result<()> {
    unverified("btrfs")
}

/// spec: BW-602, BW-808
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_system_on_xfs_without_verification_boots_and_upgrades_and_says_so() -> Result<()> {
    unverified("xfs")
}
