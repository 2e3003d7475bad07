//! What a power cut leaves in a folder of the ESP, on the kernel's own FAT.

use anyhow::{Result, ensure};
use bootwright_conformance::{
    images::Cache,
    lifecycle::{BOOT, Cell, Guest, IMAGES_LABEL, OfflineDisk, Site, install},
    system::{KernelFormat, Systems},
    vm::{Disk, Vm},
};

/// A folder that ends before the rest of a name takes no long names any more: Linux says that the file system is in error.
///
/// spec: BW-424
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_folder_that_ends_before_half_a_name_takes_new_files_again() -> Result<()> {
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let (one, two) = (systems.image("v1", KernelFormat::Split)?, systems.image("v2", KernelFormat::Split)?);
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let site = Site::make(&scratch.path().join("site"), &[("v2", &two)])?;
    let cell = Cell::new("composefs", "uki", KernelFormat::Split);
    let path = scratch.path().join("disk.img");
    install(&systems.programs().bootwright, &cell, &one, &path, &[], false)?;
    OfflineDisk::open(&path)?.lose_half_a_name("EFI/Linux")?;
    let builder = Vm::builder("fat").disk(Disk::raw(&path)).folder(IMAGES_LABEL, site.folder());
    let mut guest = Guest::attach(builder.start()?)?;

    guest.settle()?;
    guest.offer("v2")?;
    guest.sh("bootwright upgrade")?;
    guest.reboot_into("v2")?;
    guest.settle()?;
    guest.sh("bootwright fsck")?;
    guest.vm().shutdown(BOOT)?;
    let files = OfflineDisk::open(&path)?.esp_files()?;
    let left: Vec<_> = files.iter().filter(|file| file.contains('~') || file.contains("TMP")).collect();
    ensure!(left.is_empty(), "the half-written file is still there: {left:?}");
    Ok(())
}
