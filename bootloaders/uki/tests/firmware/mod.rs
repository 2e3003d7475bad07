//! A firmware that shares no code with the loader, and machines that it starts.

#![allow(dead_code, reason = "each test program uses some of it")]

use bootwright_core::{
    efi::{EfiVariables, GLOBAL_VENDOR, MemoryVariables},
    fs::Faults,
    model::{BootPlan, BootState, EntrySpec, PlannedEntry},
};
use bootwright_loader_uki::FirmwareUki;

use crate::support::{Machine, PARTITION, Store, add, plan_with};

pub fn loader(machine: &Machine) -> FirmwareUki {
    faulty(machine, &Faults::none())
}

pub fn faulty(machine: &Machine, faults: &Faults) -> FirmwareUki {
    FirmwareUki::new(machine.context(faults))
}

/// What the firmware would start next, by `root=` in its embedded command line, and the boot option that it comes from.
///
/// Tries `BootNext`, then `BootOrder`, then the removable-media path; whatever cannot be loaded is passed over.
fn next_boot(machine: &Machine) -> Option<(Option<u16>, String)> {
    let numbers = |name| {
        let value =
            machine.efi.as_ref().and_then(|efi| efi.read(GLOBAL_VENDOR, name).unwrap()).unwrap_or_default();
        value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<_>>()
    };
    for number in numbers("BootNext").into_iter().chain(numbers("BootOrder")) {
        let name = format!("Boot{number:04X}");
        let Some(value) = machine.efi.as_ref().unwrap().read(GLOBAL_VENDOR, &name).unwrap() else { continue };
        if let Some(id) = option_file(&value).and_then(|file| load(machine, &file)) {
            return Some((Some(number), id));
        }
    }
    load(machine, "EFI/BOOT/BOOTX64.EFI").map(|id| (None, id))
}

pub fn boots(machine: &Machine) -> Option<String> {
    next_boot(machine).map(|(_, id)| id)
}

/// The file of an option on our partition: the text in its file node.
fn option_file(value: &[u8]) -> Option<String> {
    let at = value.windows(4).position(|w| w[..2] == [4, 4] && w[3] == 0 && w[2] > 4)?;
    value.windows(16).any(|w| w == PARTITION.guid).then_some(())?;
    let length = usize::from(value[at + 2]) - 4;
    let units = value.get(at + 4..at + 4 + length)?.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]]));
    let text = String::from_utf16(&units.take_while(|&u| u != 0).collect::<Vec<_>>()).ok()?;
    Some(text.trim_start_matches('\\').replace('\\', "/"))
}

/// The `root=` of a UKI, if it is whole: kernel, initrd and command line of one deployment, or its sealed image and addon.
fn load(machine: &Machine, file: &str) -> Option<String> {
    let bytes = std::fs::read(machine.esp().join(file)).ok().filter(|bytes| bytes.starts_with(b"MZ"))?;
    let text = String::from_utf8_lossy(&bytes);
    let of = |what: &str| text.split_once(what)?.1.split([' ', '\0']).next().map(ToOwned::to_owned);
    let id = of("root=")?;
    if text.contains("sealed") {
        let addon = std::fs::read(machine.esp().join(format!("{file}.extra.d/a.addon.efi"))).unwrap();
        assert!(String::from_utf8_lossy(&addon).contains("from-addon"), "{file} boots without its addon");
    } else {
        assert_eq!(of("kernel of ").as_deref(), Some(id.as_str()), "{file} mixes deployments");
        assert!(text.contains("one initrd for all"));
    }
    Some(id)
}

/// Starts the machine: `BootNext` is used up, `BootCurrent` says what was started.
pub fn boot(machine: &Machine) -> String {
    let (number, id) = next_boot(machine).unwrap();
    let efi = machine.efi.as_ref().unwrap();
    efi.delete(GLOBAL_VENDOR, "BootNext").unwrap();
    match number {
        Some(number) => efi.write(GLOBAL_VENDOR, "BootCurrent", &number.to_le_bytes()).unwrap(),
        None => efi.delete(GLOBAL_VENDOR, "BootCurrent").unwrap(),
    }
    id
}

pub fn tried(spec: EntrySpec) -> EntrySpec {
    EntrySpec { tries: Some(1), ..spec }
}

pub async fn with(machine: Machine, ids: &[&str]) -> (Machine, Store) {
    let store = Store::new();
    for id in ids {
        add(&loader(&machine), &store, store.split(id)).await;
    }
    (machine, store)
}

/// A disk that was installed elsewhere, in the machine that it is for.
pub async fn first_start(ids: &[&str]) -> (Machine, Store) {
    let (mut machine, store) = with(Machine::without_firmware(), ids).await;
    let efi = MemoryVariables::default();
    efi.write(GLOBAL_VENDOR, "Boot0000", b"\x01\0\0\0\x04\0F\0\0\0\x7f\xff\x04\0").unwrap();
    efi.write(GLOBAL_VENDOR, "BootOrder", &[0, 0]).unwrap();
    machine.efi = Some(std::sync::Arc::new(efi));
    (machine, store)
}

pub fn new_trial(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(tried(store.split("c")))))
}
