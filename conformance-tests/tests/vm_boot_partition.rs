//! A separate boot partition with a journal that the loader does not replay: installed, booted, upgraded, rolled back. Of each kind, what GRUB's own
//! drivers read there.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bootwright_conformance::{
    images::{Cache, Edits, Entry, OciImage, derive},
    lifecycle::{Cell, Guest, Installation, OfflineDisk, Site, install},
    powercut::grub,
    system::{KernelFormat, Systems},
    vm::{Disk, Vm},
};

/// Label of the disk with the images.
const IMAGES: &str = "images";

fn check(condition: bool, what: &str) -> Result<()> {
    ensure!(condition, "{what}");
    println!("ok: {what}");
    Ok(())
}

/// With a boot partition, systemd mounts that at `/boot`, and the ESP at `/efi`, which an image must have then.
fn with_efi(systems: &Systems, version: &str) -> Result<OciImage> {
    let image = systems.image(version, KernelFormat::Split)?;
    derive(&image, &Edits::new(version).entry(Entry::directory("/efi", 0o755)), systems.cache())
}

fn start(installation: &Installation, site: &Site) -> Result<Guest> {
    let builder = Vm::builder("grub").disk(Disk::overlay(&installation.disk));
    Guest::attach(builder.folder(IMAGES, site.folder()).start()?)
}

fn life(options: &[&str]) -> Result<()> {
    let format = KernelFormat::Split;
    let cell = Cell::new("composefs", "grub2", format);
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let (one, two) = (with_efi(&systems, "v1")?, with_efi(&systems, "v2")?);
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let site = Site::make(&scratch.path().join("site"), &[("v1", &one), ("v2", &two)])?;
    let disk = scratch.path().join("disk.img");
    let installation = install(&systems.programs().bootwright, &cell, &one, &disk, options, false)?;
    println!("ok: installed in {:.1} s", installation.took.as_secs_f32());
    let mut guest = start(&installation, &site)?;
    guest.settle()?;
    check(guest.version()? == "v1", "v1 runs")?;
    check(guest.status()?.version("booted") == Some("v1"), "status says that v1 runs")?;

    guest.offer("v2")?;
    guest.sh("bootwright upgrade")?;
    guest.reboot_into("v2")?;
    println!("ok: v2 runs after the upgrade");
    guest.settle()?;
    check(guest.status()?.version("rollback") == Some("v1"), "v1 is the way back")?;
    guest.sh("bootwright rollback")?;
    guest.reboot_into("v1")?;
    guest.settle()?;
    println!("ok: v1 runs after the rollback");
    check(guest.sh("bootwright fsck")?.len() < 10_000, "the store is whole")
}

/// spec: BW-101, BW-107
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn composefs_grub2_with_an_xfs_boot_partition() -> Result<()> {
    life(&["--boot-partition", "400M", "--boot-filesystem", "xfs"])
}

/// Number of the boot partition.
const BOOT: u32 = 3;

/// What the first entry of GRUB's configuration loads: kernel and initrd.
fn loaded(disk: &OfflineDisk) -> Result<[String; 2]> {
    let configuration = disk.esp_files()?.into_iter().map(|path| disk.esp_file(&path)).find_map(|content| {
        let text = String::from_utf8(content.ok()?).ok()?;
        text.contains("menuentry").then_some(text)
    });
    let configuration = configuration.context("a configuration with entries on the ESP")?;
    let argument = |command: &str| -> Result<String> {
        let mut found = configuration.lines().filter_map(|line| line.trim().strip_prefix(command));
        let path = found.next().and_then(|rest| rest.split_whitespace().next());
        Ok(path.with_context(|| format!("a line with {command}"))?.trim_matches('\'').to_owned())
    };
    Ok([argument("linux ")?, argument("initrd ")?])
}

/// spec: BW-004
#[test]
#[ignore = "needs the image of a virtual machine; `cargo xtask test` runs it"]
fn grub_reads_kernel_and_initrd_on_a_boot_partition_of_each_kind() -> Result<()> {
    let cell = Cell::new("composefs", "grub2", KernelFormat::Split);
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let image = with_efi(&systems, "v1")?;
    let modules = format!("/usr/lib/modules/{}", image.kernel_version()?);
    for kind in ["ext4", "xfs", "btrfs", "vfat"] {
        let scratch = tempfile::tempdir_in("/var/tmp")?;
        let disk = scratch.path().join("disk.img");
        let options = ["--boot-partition", "400M", "--boot-filesystem", kind];
        install(&systems.programs().bootwright, &cell, &image, &disk, &options, false)?;
        let loaded = loaded(&OfflineDisk::open(&disk)?)?;
        for (path, name) in loaded.iter().zip(["vmlinuz", "initramfs.img"]) {
            let seen = grub::read(&disk, BOOT, Path::new(path.trim_start_matches('/')))?;
            let of_image = image.read_file(&format!("{modules}/{name}"))?.context("a kernel in the image")?;
            check(seen == of_image, &format!("GRUB reads {path} on {kind} as the image has it"))?;
        }
    }
    Ok(())
}
