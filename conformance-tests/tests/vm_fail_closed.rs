//! Early boot fails closed: whatever is wrong with the root, no other root is ever started, and the machine reboots.
//!
//! In each case an init is planted on the physical root, with everything it needs to run. It never may.

use std::{
    path::Path,
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bootwright_conformance::{
    images::{Cache, OciImage},
    lifecycle::{BOOT, Cell, OfflineDisk, PLANTED, install},
    system::{KernelFormat, Systems},
    vm::{Disk, Vm},
};

/// What the early-boot program says last.
const REFUSAL: &str = "no other root is started, rebooting";

/// A disk with a planted init, installed once for all cases of this program.
struct Prepared {
    _scratch: tempfile::TempDir,
    disk: std::path::PathBuf,
    digest: String,
}

static PREPARED: LazyLock<Result<Prepared, String>> =
    LazyLock::new(|| prepare().map_err(|error| format!("{error:#}")));

fn prepare() -> Result<Prepared> {
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let image = systems.image("v1", KernelFormat::Split)?;
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let disk = scratch.path().join("disk.img");
    let cell = Cell::new("composefs", "systemd-boot", KernelFormat::Split);
    install(&systems.programs().bootwright, &cell, &image, &disk, &[], false)?;
    plant(&disk, &image)?;
    let digest = root_digest(&disk)?;
    Ok(Prepared { _scratch: scratch, disk, digest })
}

fn plant(disk: &Path, image: &OciImage) -> Result<()> {
    let offline = OfflineDisk::open(disk)?;
    offline.plant_init(image)?;
    offline.prove_planted()
}

/// The digest in the name of the state folder.
fn root_digest(disk: &Path) -> Result<String> {
    let listing = OfflineDisk::open(disk)?.debugfs("ls -p /state/deploy\n")?;
    let names = listing.lines().filter_map(|line| line.split('/').nth(5));
    let digest = names.into_iter().find(|name| name.len() == 64).map(ToOwned::to_owned);
    digest.ok_or_else(|| anyhow::anyhow!("no deployment in {listing}"))
}

/// Boots a copy of the prepared disk after `harm` was done to it, and waits until it has refused twice: it rebooted in between.
fn refuses_twice(name: &str, harm: impl FnOnce(&OfflineDisk, &str) -> Result<()>) -> Result<()> {
    let prepared = PREPARED.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut vm = Vm::builder(name).disk(Disk::copy(&prepared.disk)).build()?;
    let copy = vm.disk_file(0).ok_or_else(|| anyhow::anyhow!("a machine without a disk"))?.to_owned();
    harm(&OfflineDisk::open(&copy)?, &prepared.digest)?;
    vm.power_on()?;
    let start = Instant::now();
    while vm.serial_text().matches(REFUSAL).count() < 2 {
        ensure!(!vm.serial_text().contains(PLANTED), "the planted init ran");
        ensure!(vm.boot_id().is_none(), "the system came up");
        ensure!(start.elapsed() < 2 * BOOT, "it did not refuse and reboot:\n{}", vm.serial_text());
        sleep(Duration::from_millis(200));
    }
    ensure!(!vm.serial_text().contains(PLANTED), "the planted init ran");
    println!("{name}: refused twice after {:.0} s", start.elapsed().as_secs_f32());
    vm.power_cut();
    Ok(())
}

/// spec: BW-009
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_wrong_digest_starts_no_other_root() -> Result<()> {
    refuses_twice("wrong-digest", |disk, digest| {
        let wrong: String = digest.chars().rev().collect();
        disk.edit_entries(|text| text.replace(digest, &wrong)).map(drop)
    })
}

/// spec: BW-009
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn without_a_root_argument_no_other_root_is_started() -> Result<()> {
    refuses_twice("no-argument", |disk, _digest| {
        let without = |text: &str| {
            let words = |line: &str| {
                line.split(' ').filter(|word| !word.starts_with("composefs")).collect::<Vec<_>>().join(" ")
                    + "\n"
            };
            text.lines().map(words).collect()
        };
        disk.edit_entries(without).map(drop)
    })
}

/// spec: BW-009
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_damaged_root_image_starts_no_other_root() -> Result<()> {
    refuses_twice("damaged-image", |disk, digest| disk.damage(&disk.root_image(digest), 3))
}
