//! A distribution's shim and signed GRUB. The programs are made here: nobody checks signatures in these tests.
#![expect(clippy::disallowed_methods, reason = "tests make files")]

#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bootwright_core::{
    Bootloader, ErrorKind, Result,
    context::{BootContext, Firmware},
    efi::{EfiVariables, GLOBAL_VENDOR},
    fs::Faults,
    tree::{Reader, TreeReader},
};
use bootwright_loader_grub2::Grub2;
use support::{Machine, tree, write};

const SHIM: &str = "usr/lib/shim/shimx64.efi.signed";
const MANAGER: &str = "usr/lib/shim/mmx64.efi.signed";
const GRUB: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
const REMOVABLE: &str = "EFI/BOOT/BOOTX64.EFI";
const STUB: &str = "EFI/debian/grub.cfg";

/// The modules of this machine's GRUB, and files beside them.
#[derive(Debug, Default)]
struct Image(BTreeMap<String, Vec<u8>>);

#[async_trait]
impl TreeReader for Image {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        if let Some(bytes) = self.0.get(path) {
            return Ok(Some(Box::new(std::io::Cursor::new(bytes.clone()))));
        }
        let modules = path.starts_with("usr/lib/grub/x86_64-efi/");
        let file = if modules { std::fs::File::open(format!("/{path}")).ok() } else { None };
        Ok(file.map(|file| Box::new(file) as Reader))
    }
    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let inside = self.0.keys().filter_map(|name| name.strip_prefix(path)?.strip_prefix('/'));
        let mut names: Vec<String> =
            inside.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        let host = std::fs::read_dir(format!("/{path}")).into_iter().flatten().flatten();
        let modules = path == "usr/lib/grub/x86_64-efi";
        names.extend(host.filter(|_| modules).filter_map(|entry| entry.file_name().into_string().ok()));
        Ok(names)
    }
}

/// A real GRUB that looks in `prefix`, with `version` behind it.
fn grub(prefix: &str, version: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grub");
    let mut command = std::process::Command::new("grub-mkimage");
    command.args(["-O", "x86_64-efi", "-p", prefix, "-o"]).arg(&file).arg("normal");
    assert!(command.status().unwrap().success());
    let mut bytes = std::fs::read(file).unwrap();
    bytes.extend_from_slice(version.as_bytes());
    bytes
}

fn signed(prefix: &str, version: &str) -> Image {
    let text = |name: &str| format!("MZ {name} {version}").into_bytes();
    let files = [(SHIM, text("shim")), (MANAGER, text("manager")), (GRUB, grub(prefix, version))];
    Image(files.map(|(path, bytes)| (path.to_owned(), bytes)).into())
}

fn loader(machine: &Machine, faults: &Faults) -> Grub2 {
    Grub2::new(BootContext { firmware: Firmware::Uefi, ..machine.context(faults) })
}

async fn install(machine: &Machine, image: &Image) {
    loader(machine, &Faults::none()).install(image).await.unwrap();
}

/// spec: BW-411, BW-413, BW-419
#[tokio::test]
async fn shim_and_the_signed_grub_are_copied_as_they_are_and_lead_to_our_configuration() {
    let (machine, image) = (Machine::new(), signed("/EFI/debian", "1"));
    install(&machine, &image).await;
    let files = tree(&machine.esp());
    for (path, from) in [
        ("EFI/bootwright/shimx64.efi", SHIM),
        ("EFI/bootwright/grubx64.efi", GRUB),
        ("EFI/bootwright/mmx64.efi", MANAGER),
        (REMOVABLE, SHIM),
        ("EFI/BOOT/grubx64.efi", GRUB),
    ] {
        assert_eq!(files[path], image.0[from], "{path}");
    }
    assert!(String::from_utf8_lossy(&files[STUB]).contains("/EFI/bootwright/grub.cfg"));
    let efi = machine.efi.as_ref().unwrap();
    let option = efi.read(GLOBAL_VENDOR, "Boot0000").unwrap().unwrap();
    let wide: Vec<u8> = "shimx64.efi".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(
        option.windows(wide.len()).any(|part| part == wide),
        "the firmware starts something else than shim"
    );
    assert_eq!(loader(&machine, &Faults::none()).read().await.unwrap().foreign, Vec::<String>::new());
    let faults = Faults::none();
    loader(&machine, &faults).install(&image).await.unwrap();
    assert_eq!(faults.count(), 0, "what is there already was written again");
}

/// spec: BW-419
#[tokio::test]
async fn an_update_of_the_chain_that_is_stopped_anywhere_leaves_a_grub_beside_every_shim() {
    let (old, new) = (signed("/EFI/debian", "1"), signed("/EFI/debian", "2"));
    for n in 0.. {
        let machine = Machine::new();
        install(&machine, &old).await;
        let done = loader(&machine, &Faults::stop_before(n)).install(&new).await.is_ok();
        let files = tree(&machine.esp());
        for (shim, grub) in [
            (REMOVABLE, "EFI/BOOT/grubx64.efi"),
            ("EFI/bootwright/shimx64.efi", "EFI/bootwright/grubx64.efi"),
        ] {
            let either = |path: &str, from: &str| [&old.0[from], &new.0[from]].contains(&&files[path]);
            assert!(either(shim, SHIM) && either(grub, GRUB), "stopped before {n}");
        }
        install(&machine, &new).await;
        assert_eq!(
            tree(&machine.esp())[REMOVABLE],
            new.0[SHIM],
            "the next update does not carry on after {n}"
        );
        if done {
            assert!(n > 6, "only {n} changes");
            return;
        }
    }
}

#[tokio::test]
async fn the_chain_can_replace_our_own_program_and_be_replaced_by_it() {
    let (machine, image, plain) = (Machine::new(), signed("/EFI/debian", "1"), Image::default());
    install(&machine, &plain).await;
    let own = tree(&machine.esp())[REMOVABLE].clone();
    install(&machine, &image).await;
    assert_eq!(tree(&machine.esp())[REMOVABLE], image.0[SHIM]);
    install(&machine, &plain).await;
    let files = tree(&machine.esp());
    assert!(files[REMOVABLE] == own && files["EFI/bootwright/grubx64.efi"] == own);
}

/// spec: BW-419
#[tokio::test]
async fn a_chain_is_never_replaced_by_an_unsigned_program_under_secure_boot() {
    let (machine, image) = (Machine::new(), signed("/EFI/debian", "1"));
    machine.efi.as_ref().unwrap().write(GLOBAL_VENDOR, "SecureBoot", &[1]).unwrap();
    install(&machine, &image).await;
    let before = tree(&machine.esp());
    let error = loader(&machine, &Faults::none()).install(&Image::default()).await.unwrap_err();
    // What core takes for "the loader stays as it is".
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("shim-signed"), "{error}");
    assert_eq!(tree(&machine.esp()), before);
}

/// spec: BW-413, BW-419
#[tokio::test]
async fn configurations_and_loaders_of_others_stay() {
    let image = signed("/EFI/debian", "1");
    let machine = Machine::new();
    write(&machine.esp(), STUB, b"set timeout=5\n");
    let error = loader(&machine, &Faults::none()).install(&image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains(STUB) && error.hint().is_some(), "{error}");
    assert_eq!(tree(&machine.esp())[STUB], b"set timeout=5\n");

    let machine = Machine::new();
    write(&machine.esp(), REMOVABLE, b"MZ somebody's");
    install(&machine, &image).await;
    let files = tree(&machine.esp());
    assert!(files[REMOVABLE] == b"MZ somebody's" && !files.contains_key("EFI/BOOT/grubx64.efi"));
}

#[tokio::test]
async fn a_grub_that_somebody_signed_for_our_folder_needs_nothing_in_another() {
    let machine = Machine::new();
    install(&machine, &signed("/EFI/bootwright", "1")).await;
    assert!(tree(&machine.esp()).keys().all(|path| !path.ends_with("grub.cfg")));
}

#[tokio::test]
async fn a_grub_that_looks_elsewhere_is_refused() {
    let machine = Machine::new();
    let error = loader(&machine, &Faults::none()).install(&signed("/boot/grub", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("/boot/grub"), "{error}");
}

#[tokio::test]
async fn fedora_s_places_are_found_too() {
    let (machine, image) = (Machine::new(), signed("/EFI/fedora", "1"));
    let at = |name: &str| format!("usr/lib/bootupd/updates/EFI/fedora/{name}x64.efi");
    let files = [(at("shim"), image.0[SHIM].clone()), (at("grub"), image.0[GRUB].clone())];
    install(&machine, &Image(files.into())).await;
    let files = tree(&machine.esp());
    assert!(files[REMOVABLE] == image.0[SHIM] && files.contains_key("EFI/fedora/grub.cfg"));
}
