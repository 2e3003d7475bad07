//! One changed bit in each file of ours in turn: a verification names this file, and no other.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use bootwright_core::{Bootloader, fs::Faults, model::VerifyReport};
use bootwright_loader_uki::FirmwareUki;
use support::{Machine, Store, add, addons_are_verified, roll_back, set, tree, write};

fn loader(machine: &Machine) -> FirmwareUki {
    FirmwareUki::new(machine.context(&Faults::none()))
}

async fn report(machine: &Machine) -> VerifyReport {
    loader(machine).verify().await.unwrap()
}

/// UKIs that were assembled, and a sealed one with two addons, which is the default.
async fn published(machine: Machine) -> (Machine, Store) {
    let store = Store::new();
    add(&loader(&machine), &store, store.unified("u", "quiet")).await;
    if machine.efi.is_some() {
        add(&loader(&machine), &store, store.split("a")).await;
    }
    (machine, store)
}

/// spec: BW-620
#[tokio::test]
async fn a_changed_bit_is_found_in_every_file_and_in_no_other() {
    for machine in [Machine::new(), Machine::without_firmware()] {
        let (machine, _) = published(machine).await;
        let clean = report(&machine).await;
        let files = tree(&machine.esp());
        assert!(clean.problems.is_empty(), "{clean:?}");
        assert_eq!(clean.checked, files.len() as u64, "{:?}", files.keys());
        for (path, content) in &files {
            let mut changed = content.clone();
            changed[content.len() / 2] ^= 1;
            write(&machine.esp(), path, &changed);
            let found = report(&machine).await;
            let named: Vec<_> = found.problems.iter().map(|problem| problem.path.as_str()).collect();
            assert_eq!(named, [path.as_str()], "{found:?}");
            let whose = usize::from(!path.ends_with("plans.jsonl"));
            assert_eq!(found.problems[0].deployments.len(), whose, "{found:?}");
            write(&machine.esp(), path, content);
        }
        assert!(report(&machine).await.problems.is_empty());
    }
}

/// spec: BW-620
#[tokio::test]
async fn a_missing_file_is_found_and_an_addon_too_many_too() {
    let (machine, _) = published(Machine::new()).await;
    addons_are_verified(&loader(&machine), &machine).await;
}

/// spec: BW-621
#[tokio::test]
async fn a_rollback_and_a_sweep_leave_everything_verifiable() {
    let (machine, store) = published(Machine::new()).await;
    roll_back(&loader(&machine), &store, "u").await;
    loader(&machine).sweep(&set(&["u"])).await.unwrap();
    let found = report(&machine).await;
    assert!(found.problems.is_empty() && found.checked > 0, "{found:?}");
}

/// spec: BW-007
#[tokio::test]
async fn what_others_have_changed_is_their_business() {
    let (machine, _) = published(Machine::new()).await;
    write(&machine.esp(), "EFI/Linux/other.efi", b"garbage");
    write(&machine.esp(), "EFI/BOOT/BOOTX64.EFI", b"MZ a loader of others");
    assert!(report(&machine).await.problems.is_empty());
}
