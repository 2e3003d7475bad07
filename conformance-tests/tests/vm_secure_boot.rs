//! Secure Boot with keys of one's own: what is signed by the enrolled key boots, what is signed by another one or changed in one bit does not, and
//! what we copy is what was signed.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bootwright_conformance::{
    images::{Cache, Edits, OciImage, derive, unpacked},
    lifecycle::{BOOT, Cell, OfflineDisk, install},
    system::{KernelFormat, Systems},
    vm::{
        Disk, Firmware, Vars, Vm,
        secure_boot::{QEMU_ARGUMENTS, SigningKey, microsoft_s_keys, unsigned},
    },
};

/// Where a distribution puts its loader; a signed one has another suffix.
const SYSTEMD_BOOT: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// Where Debian puts the shim that Microsoft has signed, and the GRUB that it has signed itself.
const CHAIN: [&str; 2] =
    ["/usr/lib/shim/shimx64.efi.signed", "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"];
const CHAIN_PACKAGES: [&str; 2] = ["shim-signed", "grub-efi-amd64-signed"];
/// The firmware's own answer to whether it checks signatures.
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// How firmware and loaders say that a program is not to be trusted.
const REFUSALS: [&str; 5] =
    ["Access Denied", "Access denied", "Security Violation", "Security violation", "bad shim signature"];

/// Two keys, and firmware that knows the first.
struct Keys {
    scratch: tempfile::TempDir,
    enrolled: SigningKey,
    other: SigningKey,
    firmware: Firmware,
}

impl Keys {
    fn make() -> Result<Self> {
        let scratch = tempfile::tempdir_in("/var/tmp")?;
        let enrolled = SigningKey::make(scratch.path(), "enrolled")?;
        let other = SigningKey::make(scratch.path(), "other")?;
        let firmware = enrolled.enroll(scratch.path())?;
        Ok(Self { scratch, enrolled, other, firmware })
    }

    /// The image with loaders that are signed by the enrolled key, and a kernel or UKI that is signed by `key`.
    fn image(&self, systems: &Systems, cell: &Cell, key: &SigningKey) -> Result<OciImage> {
        let split = with_loaders(systems, &cell.bootloader, |loader| self.enrolled.sign(&loader))?;
        let kver = split.kernel_version()?;
        let (image, edits) = match cell.format {
            KernelFormat::Split => {
                let path = format!("/usr/lib/modules/{kver}/vmlinuz");
                // shim trusts the distribution's signature as well.
                let kernel = key.sign(&unsigned(&file(&split, &path)?)?)?;
                (split, Edits::new("v1").write(&path, kernel, 0o644))
            }
            KernelFormat::Unified => {
                let image = systems.unified(&split, "v1", None, &[])?;
                let uki = key.sign(&file(&image, &format!("/boot/EFI/Linux/{kver}.efi"))?)?;
                (image, Edits::new("v1").unified(&kver, uki))
            }
        };
        derive(&image, &edits, systems.cache())
    }
}

/// A machine with this firmware, as it was never switched on.
fn machine(name: &str, disk: &Path, firmware: &Firmware) -> Result<Vm> {
    let builder = Vm::builder(name).disk(Disk::overlay(disk)).firmware(firmware.clone());
    builder.vars(Vars::CopyOf(firmware.vars.clone())).qemu_arguments(&QEMU_ARGUMENTS).start()
}

/// The image with the programs that start what boots, as `sign` gives them back.
fn with_loaders(
    systems: &Systems,
    bootloader: &str,
    sign: impl Fn(Vec<u8>) -> Result<Vec<u8>>,
) -> Result<OciImage> {
    let image = systems.image("v1", KernelFormat::Split)?;
    let mut edits = Edits::new("v1");
    for (path, loader) in loaders(systems, bootloader, &image)? {
        edits = edits.write(&path, sign(loader)?, 0o644);
    }
    derive(&image, &edits, systems.cache())
}

/// The programs that start what boots, with the paths at which an image has them when they are signed.
fn loaders(systems: &Systems, bootloader: &str, image: &OciImage) -> Result<Vec<(String, Vec<u8>)>> {
    if bootloader != "grub2" {
        return Ok(vec![(format!("{SYSTEMD_BOOT}.signed"), file(image, SYSTEMD_BOOT)?)]);
    }
    let packages = unpacked(&CHAIN_PACKAGES, systems.cache())?;
    let read = |path: &str| std::fs::read(packages.join(path.trim_start_matches('/')));
    CHAIN.iter().map(|path| Ok(((*path).to_owned(), read(path).context(*path)?))).collect()
}

fn file(image: &OciImage, path: &str) -> Result<Vec<u8>> {
    image.read_file(path)?.with_context(|| format!("no {path} in the image"))
}

fn case(bootloader: &str, format: KernelFormat) -> Result<()> {
    let cell = Cell::new("composefs", bootloader, format);
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let keys = Keys::make()?;
    for (name, key, boots) in [("enrolled", &keys.enrolled, true), ("other", &keys.other, false)] {
        let image = keys.image(&systems, &cell, key)?;
        let disk = keys.scratch.path().join(format!("{name}.img"));
        install(&systems.programs().bootwright, &cell, &image, &disk, &[], false)?;
        signatures_have_survived(&OfflineDisk::open(&disk)?, &keys, &image, key, &cell)?;
        let mut vm = machine(&format!("{cell}-{name}"), &disk, &keys.firmware)?;
        if boots {
            comes_up(&mut vm)?;
        } else {
            is_refused(&mut vm)?;
        }
        println!("ok: {cell}, signed by the {name} key: {}", if boots { "boots" } else { "does not boot" });
        vm.power_cut();
        if boots && cell.format == KernelFormat::Unified {
            change_a_bit(&OfflineDisk::open(&disk)?, &image)?;
            let mut vm = machine(&format!("{cell}-changed"), &disk, &keys.firmware)?;
            is_refused(&mut vm)?;
            println!("ok: {cell}, signed by the {name} key, one bit changed: does not boot");
            vm.power_cut();
        }
    }
    Ok(())
}

/// Changes one bit in the middle of the image's UKI, wherever it lies on the ESP.
fn change_a_bit(disk: &OfflineDisk, image: &OciImage) -> Result<()> {
    let uki = file(image, &format!("/boot/EFI/Linux/{}.efi", image.kernel_version()?))?;
    let mut changed = uki.clone();
    *changed.get_mut(uki.len() / 2).context("a byte")? ^= 1;
    let mut found = 0;
    for path in disk.esp_files()?.iter().filter(|path| !path.ends_with('/')) {
        if disk.esp_file(path)? == uki {
            disk.replace_esp_file(path, &changed)?;
            found += 1;
        }
    }
    ensure!(found > 0, "the UKI is not on the ESP");
    Ok(())
}

/// Every EFI program on the ESP is one of the image's, byte for byte, and its signature holds.
fn signatures_have_survived(
    disk: &OfflineDisk,
    keys: &Keys,
    image: &OciImage,
    key: &SigningKey,
    cell: &Cell,
) -> Result<()> {
    let kver = image.kernel_version()?;
    let kernel = match cell.format {
        KernelFormat::Split => file(image, &format!("/usr/lib/modules/{kver}/vmlinuz"))?,
        KernelFormat::Unified => file(image, &format!("/boot/EFI/Linux/{kver}.efi"))?,
    };
    let loaders = match cell.bootloader.as_str() {
        "grub2" => CHAIN.iter().map(|path| file(image, path)).collect::<Result<Vec<_>>>()?,
        _ => vec![file(image, &format!("{SYSTEMD_BOOT}.signed"))?],
    };
    let mut programs = 0;
    for path in disk.esp_files()? {
        let content = if path.ends_with('/') { Vec::new() } else { disk.esp_file(&path)? };
        if !content.starts_with(b"MZ") {
            continue;
        }
        programs += 1;
        let is_loader = loaders.contains(&content);
        let by = if is_loader { &keys.enrolled } else { key };
        ensure!(is_loader || content == kernel, "{path} is none of the image's programs");
        ensure!(by.verifies(&content)?, "the signature of {path} does not hold");
    }
    ensure!(programs >= 2, "only {programs} EFI programs on the ESP");
    Ok(())
}

fn comes_up(vm: &mut Vm) -> Result<()> {
    vm.wait_ready(BOOT)?;
    let script = format!(
        "mountpoint -q /sys/firmware/efi/efivars || mount -t efivarfs efivarfs /sys/firmware/efi/efivars; od -An -tu1 -j4 {SECURE_BOOT}"
    );
    let on = vm.run(&script, BOOT)?.success()?.stdout_text();
    ensure!(on.trim() == "1", "Secure Boot is not on: {on:?}");
    Ok(())
}

fn is_refused(vm: &mut Vm) -> Result<()> {
    let start = Instant::now();
    while !REFUSALS.iter().any(|text| vm.serial_text().contains(text)) {
        ensure!(vm.boot_id().is_none(), "it booted");
        ensure!(start.elapsed() < BOOT, "it was not refused:\n{}", vm.serial_text());
        sleep(Duration::from_millis(200));
    }
    ensure!(!vm.serial_text().contains("Linux version"), "its kernel was started");
    Ok(())
}

/// spec: BW-640, BW-641
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn systemd_boot_starts_a_signed_kernel_and_no_other() -> Result<()> {
    case("systemd-boot", KernelFormat::Split)
}

/// spec: BW-640, BW-641
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn systemd_boot_starts_a_signed_uki_and_no_other() -> Result<()> {
    case("systemd-boot", KernelFormat::Unified)
}

/// spec: BW-640, BW-641
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn the_firmware_starts_a_signed_uki_and_no_other() -> Result<()> {
    case("uki", KernelFormat::Unified)
}

/// spec: BW-419, BW-640, BW-641
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn grub_behind_shim_starts_a_signed_kernel_and_no_other() -> Result<()> {
    case("grub2", KernelFormat::Split)
}

/// spec: BW-419, BW-640, BW-641
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn grub_behind_shim_starts_a_signed_uki_and_no_other() -> Result<()> {
    case("grub2", KernelFormat::Unified)
}

/// Debian's own chain, with nothing signed by us, on firmware as machines have it.
///
/// spec: BW-419, BW-641
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn debian_s_own_chain_boots_where_microsoft_s_keys_are_enrolled() -> Result<()> {
    let cell = Cell::new("composefs", "grub2", KernelFormat::Split);
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let image = with_loaders(&systems, &cell.bootloader, Ok)?;
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let disk = scratch.path().join("disk.img");
    install(&systems.programs().bootwright, &cell, &image, &disk, &[], false)?;
    let mut vm = machine("debian-chain", &disk, &microsoft_s_keys()?)?;
    comes_up(&mut vm)?;
    vm.power_cut();
    Ok(())
}
