//! With fs-verity in the guest's kernel, what was changed on the disk is never read as if it were right.

use anyhow::{Result, ensure};
use bootwright_conformance::{
    images::Cache,
    lifecycle::{Cell, Guest, Site, install},
    suite::vm::scripts,
    system::{KernelFormat, Systems},
};

/// Every image has it, and nothing reads it while the system runs.
const PROGRAM: &str = "/usr/bin/dpkg";

/// spec: BW-604, BW-606
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_changed_byte_is_a_read_error_and_fsck_names_its_object() -> Result<()> {
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let image = systems.image("v1", KernelFormat::Split)?;
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let site = Site::make(&scratch.path().join("site"), &[("v1", &image)])?;
    let cell = Cell::new("composefs", "uki", KernelFormat::Split);
    let disk = scratch.path().join("disk.img");
    let installation = install(&systems.programs().bootwright, &cell, &image, &disk, &[], false)?;
    let mut guest = Guest::start("verified", &installation, &site)?;
    guest.settle()?;

    ensure!(guest.sh("findmnt -no OPTIONS /")?.contains("verity=require"), "reads of / are not verified");
    ensure!(guest.try_sh("touch /usr/x")?.status != 0, "/usr can be written");
    ensure!(guest.try_sh("touch /sysroot/x")?.status != 0, "/sysroot can be written");
    let object = scripts::changed_byte_is_a_read_error(&mut guest, PROGRAM)?;
    let fsck = guest.try_sh("bootwright fsck")?;
    let name: String = object.rsplit('/').take(2).collect::<Vec<_>>().into_iter().rev().collect();
    let told = fsck.stdout_text().replace('/', "");
    ensure!(fsck.status != 0 && told.contains(&name), "fsck does not name {object}: {}", fsck.stdout_text());
    Ok(())
}
