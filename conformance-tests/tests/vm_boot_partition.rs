//! What GRUB's own drivers read on a separate boot partition of each kind: on some is a journal that it does not replay.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bootwright_conformance::{
    images::{Cache, Edits, Entry, OciImage, derive},
    lifecycle::{Cell, OfflineDisk, install},
    powercut::grub,
    system::{KernelFormat, Systems},
};

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
