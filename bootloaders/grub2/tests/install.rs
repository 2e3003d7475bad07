//! GRUB's own programs, made of the modules of this machine.
#![expect(clippy::disallowed_methods, reason = "tests make disks and files")]

#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use async_trait::async_trait;
use bootwright_core::{
    Bootloader, ErrorKind, Result,
    context::{BootContext, BootDisk, Firmware, PartitionIdentity},
    efi::{EfiVariables, GLOBAL_VENDOR},
    fs::Faults,
    tree::{Reader, TreeReader},
};
use bootwright_loader_grub2::Grub2;
use sha2::Digest as _;
use support::{Machine, tree, write};

/// The running system as a tree, without the folders whose names begin with one of these.
#[derive(Debug)]
struct Host(&'static [&'static str]);

#[async_trait]
impl TreeReader for Host {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        let hidden = self.0.iter().any(|prefix| path.starts_with(prefix));
        let file = if hidden { None } else { std::fs::File::open(format!("/{path}")).ok() };
        Ok(file.map(|file| Box::new(file) as Reader))
    }
    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(format!("/{path}")).into_iter().flatten().flatten();
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

const UEFI: &str = "usr/lib/grub/x86_64-efi";
const BIOS: &str = "usr/lib/grub/i386-pc";

fn context(machine: &Machine, firmware: Firmware) -> BootContext {
    let path = machine.folder.path().join("disk");
    if !path.exists() {
        std::fs::write(&path, vec![0; 6 << 20]).unwrap();
    }
    let bios_boot = PartitionIdentity { number: 4, start: 2048, size: 8192, guid: [0; 16] };
    let disk = BootDisk { path, sector: 512, bios_boot: Some(bios_boot) };
    BootContext { disk: Some(disk), firmware, ..machine.context(&Faults::none()) }
}

fn first_sector(machine: &Machine) -> Vec<u8> {
    std::fs::read(machine.folder.path().join("disk")).unwrap()[..512].to_vec()
}

/// A program and its digest in the record are replaced: it is left alone, although no `grub-mkimage` would make it. Then the program alone.
#[tokio::test]
async fn programs_are_made_again_only_when_they_are_damaged_or_their_parts_change() {
    let machine = Machine::new();
    let install = async || Grub2::new(context(&machine, Firmware::Either)).install(&Host(&[])).await.unwrap();
    install().await;
    let (program, record) = ("EFI/bootwright/grubx64.efi", "EFI/bootwright/grub-made.json");
    let before = tree(&machine.esp());
    let sha256 = |bytes: &[u8]| hex::encode(sha2::Sha256::digest(bytes));
    let other = [before[program].as_slice(), b"other"].concat();
    let text = String::from_utf8(before[record].clone()).unwrap();
    let text = text.replace(&sha256(&before[program]), &sha256(&other));
    let text = text.replace(&before[program].len().to_string(), &other.len().to_string());
    write(&machine.esp(), record, text.as_bytes());
    write(&machine.esp(), program, &other);
    install().await;
    assert_eq!(tree(&machine.esp())[program], other, "what the record knows was made again");
    write(&machine.esp(), program, b"damaged");
    install().await;
    assert_eq!(tree(&machine.esp()), before, "what is damaged was not made again");
}

/// The core of a BIOS is damaged on the disk, where no file is.
#[tokio::test]
async fn a_damaged_core_is_written_again() {
    let machine = Machine::new();
    let bios = context(&machine, Firmware::Bios);
    let path = bios.disk.as_ref().unwrap().path.clone();
    let loader = Grub2::new(bios);
    loader.install(&Host(&[])).await.unwrap();
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    let place = good.iter().rposition(|byte| *byte != 0).unwrap();
    bad[place] ^= 1;
    std::fs::write(&path, bad).unwrap();
    loader.install(&Host(&[])).await.unwrap();
    let now = std::fs::read(&path).unwrap();
    let start = |disk: &[u8]| {
        let sector = u64::from_le_bytes(disk[0x5c..0x64].try_into().unwrap());
        usize::try_from(sector).unwrap() * 512
    };
    let core = |disk: &[u8]| disk[start(disk) + 1024..start(disk) + 40_000].to_vec();
    assert_ne!(start(&now), start(&good), "the damaged core still starts");
    assert_eq!(core(&now), core(&good));
}

/// spec: BW-411, BW-413
#[tokio::test]
async fn one_install_serves_both_kinds_of_firmware_and_a_second_writes_nothing() {
    let machine = Machine::new();
    Grub2::new(context(&machine, Firmware::Either)).install(&Host(&[])).await.unwrap();
    let files = tree(&machine.esp());
    assert_eq!(files["EFI/BOOT/BOOTX64.EFI"], files["EFI/bootwright/grubx64.efi"]);
    assert!(
        files["EFI/BOOT/BOOTX64.EFI"].starts_with(b"MZ") && files["EFI/bootwright/grubenv"].len() == 1024
    );
    assert!(first_sector(&machine).windows(4).any(|part| part == b"GRUB"));
    let variables = machine.efi.as_ref().unwrap().list(GLOBAL_VENDOR).unwrap();
    assert_eq!(variables, ["Boot0000", "BootOrder"]);
    let faults = Faults::none();
    let again = BootContext { esp: machine.context(&faults).esp, ..context(&machine, Firmware::Either) };
    Grub2::new(again).install(&Host(&[])).await.unwrap();
    assert_eq!(faults.count(), 0, "what is there already was written again");
}

/// spec: BW-411
#[tokio::test]
async fn only_what_the_machine_needs_has_to_be_in_the_image() {
    for (firmware, hidden, works) in [
        (Firmware::Uefi, BIOS, true),
        (Firmware::Uefi, UEFI, false),
        (Firmware::Bios, UEFI, true),
        (Firmware::Bios, BIOS, false),
        (Firmware::Either, BIOS, true),
        (Firmware::Either, UEFI, true),
    ] {
        let machine = Machine::new();
        let hidden: &'static [&'static str] = Box::leak(Box::new([hidden]));
        let result = Grub2::new(context(&machine, firmware)).install(&Host(hidden)).await;
        assert_eq!(result.is_ok(), works, "{firmware:?} without {hidden:?}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.hint().unwrap().contains("grub-"), "{error}");
        }
    }
}

/// spec: BW-413
#[tokio::test]
async fn a_foreign_loader_on_the_removable_media_path_stays() {
    let machine = Machine::new();
    write(&machine.esp(), "EFI/BOOT/BOOTX64.EFI", b"MZ somebody's");
    Grub2::new(context(&machine, Firmware::Uefi)).install(&Host(&[BIOS])).await.unwrap();
    assert_eq!(tree(&machine.esp())["EFI/BOOT/BOOTX64.EFI"], b"MZ somebody's");
}

#[tokio::test]
async fn a_disk_that_a_bios_cannot_start_is_refused_with_what_would_work() {
    let machine = Machine::new();
    let mut context = context(&machine, Firmware::Bios);
    if let Some(disk) = &mut context.disk {
        disk.bios_boot = None;
    }
    let error = Grub2::new(context).install(&Host(&[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("BIOS boot partition"), "{error}");
}
