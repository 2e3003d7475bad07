//! One changed bit in each file of ours in turn: a verification names this file, and no other.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

mod support;

use bootwright_core::{Bootloader, fs::Faults, model::VerifyReport};
use bootwright_loader_systemd_boot::SystemdBoot;
use support::{Machine, Store, add, addons_are_verified, roll_back, set, tree, write};

fn loader(machine: &Machine) -> SystemdBoot {
    SystemdBoot::new(machine.context(&Faults::none()))
}

async fn report(machine: &Machine) -> VerifyReport {
    loader(machine).verify().await.unwrap()
}

/// Two deployments with kernel and initrd, which they share, and a sealed UKI with two addons.
async fn published() -> (Machine, Store) {
    let (machine, store) = (Machine::new(), Store::new());
    add(&loader(&machine), &store, store.split("a")).await;
    add(&loader(&machine), &store, store.split("b")).await;
    add(&loader(&machine), &store, store.unified("u", "quiet")).await;
    (machine, store)
}

/// spec: BW-620
#[tokio::test]
async fn a_changed_bit_is_found_in_every_file_and_in_no_other() {
    let (machine, _) = published().await;
    let clean = report(&machine).await;
    let files = tree(&machine.esp());
    assert_eq!(
        (clean.problems.len(), clean.checked),
        (0, files.len() as u64),
        "{clean:?} {:?}",
        files.keys()
    );
    for (path, content) in &files {
        let mut changed = content.clone();
        let place = content.len() / 2;
        changed[place] ^= 1;
        write(&machine.esp(), path, &changed);
        let found = report(&machine).await;
        let named: Vec<_> = found.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(named, [path.as_str()], "{found:?}");
        let shared = content == b"one initrd for all";
        assert_eq!(found.problems[0].deployments.len(), if shared { 2 } else { 1 }, "{found:?}");
        write(&machine.esp(), path, content);
    }
    assert!(report(&machine).await.problems.is_empty());
}

/// spec: BW-620
#[tokio::test]
async fn a_missing_file_is_found_and_an_addon_too_many_too() {
    let (machine, _) = published().await;
    addons_are_verified(&loader(&machine), &machine).await;
}

/// spec: BW-621
#[tokio::test]
async fn a_rollback_a_sweep_and_a_counted_boot_leave_everything_verifiable() {
    let (machine, store) = published().await;
    let tried = bootwright_core::model::EntrySpec { tries: Some(3), ..store.split("c") };
    add(&loader(&machine), &store, tried).await;
    let entries = machine.esp().join("loader/entries");
    let counted = tree(&entries).into_keys().find(|name| name.ends_with("+3.conf")).unwrap();
    std::fs::rename(entries.join(&counted), entries.join(counted.replace("+3", "+2-1"))).unwrap();
    assert!(report(&machine).await.problems.is_empty());
    roll_back(&loader(&machine), &store, "u").await;
    loader(&machine).sweep(&set(&["u", "b"])).await.unwrap();
    let found = report(&machine).await;
    assert!(found.problems.is_empty() && found.checked > 0, "{found:?}");
}

/// spec: BW-007
#[tokio::test]
async fn what_others_have_changed_is_their_business() {
    let (machine, _) = published().await;
    write(&machine.esp(), "loader/entries/debian.conf", b"linux /missing\n");
    write(&machine.esp(), "EFI/Linux/other.efi", b"garbage");
    assert!(report(&machine).await.problems.is_empty());
}
