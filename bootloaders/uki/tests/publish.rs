//! Publishing, rollback, trials and clean-up, judged by a firmware that shares no code with the loader.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

mod firmware;
#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use bootwright_core::{
    Bootloader, ErrorKind,
    efi::{EfiVariables, GLOBAL_VENDOR, MemoryVariables},
    fs::Faults,
    model::{BootPlan, PlannedEntry},
};
use firmware::{boot, boots, faulty, first_start, loader, new_trial, tried, with};
use support::{
    Machine, Make, PARTITION, Store, add, back, deployment, entry_id, keep, new_default, order, plan_with,
    publish, roll_back, room_covers_each_change, sealed, set, tree, write,
};

/// spec: BW-405
#[tokio::test]
async fn the_newest_publication_boots_and_the_others_follow_in_order() {
    let (machine, store) = with(Machine::new(), &["a", "b", "c"]).await;
    assert_eq!(boots(&machine).as_deref(), Some("c"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.generation), (vec!["c".into(), "b".into(), "a".into()], 3));
    let first = &state.entries[0];
    assert_eq!(first.cmdline.as_ref().unwrap().to_string(), "root=c quiet");
    assert_eq!((first.title.as_str(), first.version.as_deref()), ("System c", Some("1")));
    assert_eq!((first.problem.as_deref(), first.tries_left), (None, None));
    add(&loader(&machine), &store, store.unified("u", "console=x")).await;
    assert_eq!(boots(&machine).as_deref(), Some("u"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(state.entries[0].cmdline.as_ref().unwrap().to_string(), "root=u sealed from-addon console=x");
}

/// spec: BW-405, BW-413
#[tokio::test]
async fn without_firmware_the_removable_media_path_boots_and_the_order_is_remembered() {
    let (machine, store) = with(Machine::without_firmware(), &["a", "b"]).await;
    assert_eq!(boots(&machine).as_deref(), Some("b"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.generation), (vec!["b".into(), "a".into()], 2));
    roll_back(&loader(&machine), &store, "a").await;
    assert_eq!(boots(&machine).as_deref(), Some("a"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.generation), (vec!["a".into(), "b".into()], 3));
}

/// Stops a publication before each of its mutations, and checks what boots and what the loader says boots.
async fn crash_sweep(machine: fn() -> Machine, make: Make, new: &str) {
    for n in 0.. {
        let (machine, store) = with(machine(), &["a", "b"]).await;
        let plan = make(&store, &loader(&machine).read().await.unwrap());
        let faults = Faults::stop_before(n);
        let result = publish(&faulty(&machine, &faults), &plan, &store).await;
        let after = boots(&machine).unwrap();
        let state = loader(&machine).read().await.unwrap();
        let expected = if state.generation == plan.generation { new } else { "b" };
        assert_eq!(after, expected, "stopped before mutation {n}");
        assert_eq!(
            order(&state)[0],
            expected,
            "read() disagrees with what boots, stopped before mutation {n}"
        );
        assert!(state.entries.iter().all(|entry| entry.problem.is_none()));
        if result.is_ok() {
            assert!(n >= 2 && after == new && !faults.stopped());
            return;
        }
        recover(&machine, &store, &after, make, new).await;
    }
}

/// After a crash: sweeping changes nothing that boots, and a second attempt succeeds.
async fn recover(machine: &Machine, store: &Store, before: &str, make: Make, new: &str) {
    let loader = loader(machine);
    let state = loader.read().await.unwrap();
    loader.sweep(&state.deployments()).await.unwrap();
    assert_eq!(boots(machine).as_deref(), Some(before));
    assert!(
        !tree(&machine.esp()).keys().any(|path| path.contains("bootwright-tmp")),
        "temporary files stayed"
    );
    publish(&loader, &make(store, &loader.read().await.unwrap()), store).await.unwrap();
    assert_eq!(boots(machine).as_deref(), Some(new));
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_a_publication_leaves_the_old_or_the_new_system() {
    crash_sweep(Machine::new, new_default, "c").await;
    crash_sweep(Machine::without_firmware, new_default, "c").await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_arming_a_trial_leaves_the_old_or_the_new_system() {
    crash_sweep(Machine::new, new_trial, "c").await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_while_a_uki_with_addons_is_published_leaves_the_old_or_the_new_system() {
    crash_sweep(Machine::new, sealed, "c").await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_a_rollback_leaves_the_old_or_the_new_system() {
    crash_sweep(Machine::new, back, "a").await;
    crash_sweep(Machine::without_firmware, back, "a").await;
}

#[tokio::test]
async fn on_its_first_machine_a_disk_shows_what_booted_it_and_the_next_publication_writes_the_boot_order() {
    let (machine, store) = first_start(&["a"]).await;
    assert_eq!(boot(&machine), "a");
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.generation), (vec!["a".into()], 1));
    add(&loader(&machine), &store, store.split("b")).await;
    assert_eq!(boot(&machine), "b");
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.also_bootable), (vec!["b".into(), "a".into()], set(&["a"])));
    assert_eq!(machine.variable(GLOBAL_VENDOR, "BootOrder").unwrap(), [1, 0, 2, 0, 0, 0]);
}

#[tokio::test]
async fn a_power_cut_at_any_point_of_the_first_publication_on_a_machine_leaves_the_old_or_the_new_system() {
    for make in [new_default as Make, new_trial] {
        for n in 0.. {
            let (machine, store) = first_start(&["a"]).await;
            let plan = make(&store, &loader(&machine).read().await.unwrap());
            let done = publish(&faulty(&machine, &Faults::stop_before(n)), &plan, &store).await.is_ok();
            let state = loader(&machine).read().await.unwrap();
            let expected = if state.generation == plan.generation { "c" } else { "a" };
            assert_eq!(
                (boots(&machine).unwrap().as_str(), order(&state)[0].as_str()),
                (expected, expected),
                "{n}"
            );
            if done {
                break;
            }
        }
    }
}

/// spec: BW-413
#[tokio::test]
async fn the_removable_copy_follows_the_confirmed_default_and_is_reported_until_then() {
    let (machine, store) = first_start(&["a"]).await;
    add(&loader(&machine), &store, tried(store.split("b"))).await;
    boot(&machine);
    assert_eq!(
        loader(&machine).read().await.unwrap().also_bootable,
        set(&[]),
        "the copy is still the default itself"
    );
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(state.also_bootable, set(&["b"]));
    loader(&machine).sweep(&set(&["b"])).await.unwrap();
    machine.efi.as_ref().unwrap().delete(GLOBAL_VENDOR, "BootOrder").unwrap();
    assert_eq!(boots(&machine).as_deref(), Some("b"), "a firmware that lost its variables boots the copy");
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.generation), (vec!["b".into()], 2));
}

#[tokio::test]
async fn the_digest_of_the_removable_copy_counts_whatever_the_notes_say() {
    let (machine, _) = with(Machine::without_firmware(), &["a", "b"]).await;
    let notes = std::fs::read_to_string(machine.esp().join("EFI/bootwright/plans.jsonl")).unwrap();
    let a = tree(&machine.esp()).into_iter().find(|(path, _)| path.contains("bootwright-a-")).unwrap().1;
    for text in
        [notes.clone(), String::new(), "{".into(), notes.replace("\"generation\":2", "\"generation\":9")]
    {
        write(&machine.esp(), "EFI/bootwright/plans.jsonl", text.as_bytes());
        assert_eq!(order(&loader(&machine).read().await.unwrap())[0], "b");
    }
    write(&machine.esp(), "EFI/BOOT/BOOTX64.EFI", &a);
    assert_eq!(order(&loader(&machine).read().await.unwrap())[0], "a");
}

/// spec: BW-413
#[tokio::test]
async fn a_foreign_loader_on_the_removable_path_is_never_replaced() {
    let (machine, store) = (Machine::without_firmware(), Store::new());
    write(&machine.esp(), "EFI/BOOT/BOOTX64.EFI", b"MZ somebody's loader");
    let state = loader(&machine).read().await.unwrap();
    assert!(state.entries.is_empty() && state.also_bootable.is_empty());
    let plan = new_default(&store, &state);
    let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
    assert!(error.hint().unwrap().contains("move the file away"), "{error}");
    let machine = Machine { efi: Some(std::sync::Arc::default()), ..machine };
    publish(&loader(&machine), &plan, &store).await.unwrap();
    loader(&machine).sweep(&set(&["c"])).await.unwrap();
    assert_eq!(tree(&machine.esp())["EFI/BOOT/BOOTX64.EFI"], b"MZ somebody's loader");
    assert_eq!(boots(&machine).as_deref(), Some("c"));
}

#[tokio::test]
async fn addons_that_differ_are_not_switched_on_the_removable_path() {
    let (machine, store) = (Machine::without_firmware(), Store::new());
    add(&loader(&machine), &store, store.unified("a", "one")).await;
    assert_eq!(boots(&machine).as_deref(), Some("a"));
    let before = tree(&machine.esp());
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(state.entries[0].cmdline.as_ref().unwrap().to_string(), "root=a sealed from-addon one");
    let plan = plan_with(&state, PlannedEntry::Add(Box::new(store.unified("b", "two"))));
    let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
    assert_eq!((error.kind(), tree(&machine.esp())), (ErrorKind::Unsupported, before));
    let plan = plan_with(&state, PlannedEntry::Add(Box::new(store.unified("b", "one"))));
    publish(&loader(&machine), &plan, &store).await.unwrap();
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// Options of others, one of them not even an option, and an order that names things that do not exist.
fn foreign_variables(efi: &MemoryVariables) -> Vec<(&'static str, Vec<u8>)> {
    let windows = [&[1, 0, 0, 0, 4, 0][..], b"W\0i\0n\0\0\0", &[0x7f, 0xff, 4, 0], b"optional"].concat();
    let other_disk = bootwright_core::efi::load_option::LoadOption::for_file(
        "Bootwright 7: other disk",
        bootwright_core::context::PartitionIdentity { guid: [9; 16], ..PARTITION },
        "\\EFI\\Linux\\bootwright-a-0123456789abcdef.efi",
    );
    let values = vec![
        ("Boot0000", windows),
        ("Boot0001", vec![0xff; 3]),
        ("Boot0003", other_disk.to_bytes().unwrap()),
        ("Boot00ff", b"not an option".to_vec()),
        ("Timeout", vec![3, 0]),
    ];
    for (name, value) in &values {
        efi.write(GLOBAL_VENDOR, name, value).unwrap();
    }
    efi.write(GLOBAL_VENDOR, "BootOrder", &[3, 0, 0, 0, 2, 0, 0x99, 0, 7]).unwrap();
    values
}

/// spec: BW-007
#[tokio::test]
async fn options_and_files_of_others_stay_as_they_are() {
    let (machine, store) = (Machine::new(), Store::new());
    let values = foreign_variables(machine.efi.as_ref().unwrap());
    write(&machine.esp(), "EFI/Linux/other.efi", b"MZ");
    write(&machine.esp(), "EFI/Linux/bootwright-x.efi", b"not ours");
    for id in ["a", "b"] {
        add(&loader(&machine), &store, tried(store.split(id))).await;
        boot(&machine);
        loader(&machine).confirm(&deployment(id)).await.unwrap();
    }
    roll_back(&loader(&machine), &store, "a").await;
    loader(&machine).sweep(&set(&["a"])).await.unwrap();
    for (name, value) in values {
        assert_eq!(machine.variable(GLOBAL_VENDOR, name), Some(value), "{name}");
    }
    // Number 2 has no variable, but somebody's order names it: it is not ours to take.
    assert_eq!(machine.variable(GLOBAL_VENDOR, "BootOrder").unwrap(), [4, 0, 3, 0, 0, 0, 2, 0, 0x99, 0]);
    let files = tree(&machine.esp());
    assert_eq!(files["EFI/Linux/other.efi"], b"MZ");
    assert_eq!(files["EFI/Linux/bootwright-x.efi"], b"not ours");
    let state = loader(&machine).read().await.unwrap();
    let expected = [
        "Boot0000 Win",
        "Boot0001",
        "Boot0003 Bootwright 7: other disk",
        "EFI/Linux/bootwright-x.efi",
        "EFI/Linux/other.efi",
    ];
    assert_eq!(state.foreign, expected);
}

/// spec: BW-407
#[tokio::test]
async fn a_missing_or_deactivated_entry_is_reported_and_not_counted_as_the_default() {
    let (machine, store) = with(Machine::new(), &["a", "b"]).await;
    let file = tree(&machine.esp()).into_keys().find(|path| path.contains("bootwright-b-")).unwrap();
    std::fs::remove_file(machine.esp().join(file)).unwrap();
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((boots(&machine).as_deref(), order(&state)[0].as_str()), (Some("a"), "a"));
    assert!(state.entry_of(&deployment("b")).unwrap().problem.is_some());
    let plan = BootPlan {
        generation: state.generation + 1,
        entries: vec![PlannedEntry::Add(Box::new(store.split("c"))), keep(&state, "a")],
        one_shot: None,
    };
    publish(&loader(&machine), &plan, &store).await.unwrap();
    loader(&machine).sweep(&set(&["a", "b", "c"])).await.unwrap();
    assert_eq!(order(&loader(&machine).read().await.unwrap()), ["c", "a"]);
}

/// spec: BW-408
#[tokio::test]
async fn a_rollback_to_a_damaged_uki_is_refused() {
    let (machine, store) = with(Machine::new(), &["a", "b"]).await;
    let (file, mut bytes) =
        tree(&machine.esp()).into_iter().find(|(path, _)| path.contains("bootwright-a-")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    write(&machine.esp(), &file, &bytes);
    let state = loader(&machine).read().await.unwrap();
    let error = publish(&loader(&machine), &plan_with(&state, keep(&state, "a")), &store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

#[tokio::test]
async fn rolling_back_and_forth_uses_no_more_options_and_files() {
    let (machine, store) = with(Machine::new(), &["a", "b"]).await;
    loader(&machine).sweep(&set(&["a", "b"])).await.unwrap();
    let options = |machine: &Machine| machine.efi.as_ref().unwrap().list(GLOBAL_VENDOR).unwrap();
    let before = (options(&machine), tree(&machine.esp()).into_keys().collect::<Vec<_>>());
    for id in ["a", "b", "a", "b"] {
        roll_back(&loader(&machine), &store, id).await;
        assert_eq!(boots(&machine).as_deref(), Some(id));
    }
    loader(&machine).sweep(&set(&["a", "b"])).await.unwrap();
    assert_eq!((options(&machine), tree(&machine.esp()).into_keys().collect::<Vec<_>>()), before);
}

/// spec: BW-004, BW-401
#[tokio::test]
async fn a_sweep_that_is_stopped_anywhere_never_breaks_what_stays() {
    for machine in [Machine::new as fn() -> Machine, Machine::without_firmware] {
        for n in 0.. {
            let (machine, _) = with(machine(), &["a", "b", "c"]).await;
            let done = faulty(&machine, &Faults::stop_before(n)).sweep(&set(&["c", "b"])).await.is_ok();
            assert_eq!(boots(&machine).as_deref(), Some("c"), "stopped before mutation {n}");
            let state = loader(&machine).read().await.unwrap();
            assert!(state.entries.iter().all(|entry| entry.problem.is_none()), "stopped before mutation {n}");
            if done {
                assert_eq!(order(&state), ["c", "b"]);
                break;
            }
        }
    }
}

/// spec: BW-406
#[tokio::test]
async fn sweeping_with_nothing_to_keep_is_refused_and_the_default_is_kept_in_any_case() {
    let (machine, _) = with(Machine::new(), &["a", "b"]).await;
    assert_eq!(loader(&machine).sweep(&set(&[])).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    loader(&machine).sweep(&set(&["nonesuch"])).await.unwrap();
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// spec: BW-403
#[tokio::test]
async fn a_full_disk_leaves_nothing_behind() {
    for unified in [false, true] {
        let (machine, mut store) = with(Machine::new(), &["a"]).await;
        let before = tree(&machine.esp());
        let spec = if unified { store.unified("b", "x") } else { store.split("b") };
        store.full.extend(["b/linux".to_owned(), "b/uki".to_owned()]);
        let state = loader(&machine).read().await.unwrap();
        let error =
            publish(&loader(&machine), &plan_with(&state, PlannedEntry::Add(Box::new(spec))), &store).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert_eq!(tree(&machine.esp()), before);
    }
}

/// spec: BW-402
#[tokio::test]
async fn a_store_that_gives_other_bytes_is_an_integrity_error_and_leaves_nothing_behind() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    let before = tree(&machine.esp());
    let spec = store.split("b");
    *store.blobs.lock().unwrap().get_mut("initrd").unwrap().last_mut().unwrap() ^= 1;
    let state = loader(&machine).read().await.unwrap();
    let error =
        publish(&loader(&machine), &plan_with(&state, PlannedEntry::Add(Box::new(spec))), &store).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Integrity);
    assert_eq!(tree(&machine.esp()), before);
}

/// spec: BW-404
#[tokio::test]
async fn the_room_that_is_asked_for_covers_each_change_of_a_publication() {
    room_covers_each_change(Machine::new, faulty, &["a"], new_default).await;
    room_covers_each_change(Machine::new, faulty, &[], sealed).await;
    room_covers_each_change(Machine::without_firmware, faulty, &["a"], new_default).await;
    room_covers_each_change(Machine::without_firmware, faulty, &["a", "b"], back).await;
}

/// spec: BW-410
#[tokio::test]
async fn one_boot_of_an_older_entry_is_boot_next_and_changes_no_order() {
    let (machine, store) = with(Machine::new(), &["a", "b"]).await;
    let state = loader(&machine).read().await.unwrap();
    let mut plan = plan_with(&state, keep(&state, "b"));
    plan.one_shot = Some(entry_id(&state, "a"));
    publish(&loader(&machine), &plan, &store).await.unwrap();
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((state.one_shot.clone(), order(&state)[0].as_str()), (Some(entry_id(&state, "a")), "b"));
    assert_eq!((boot(&machine), boot(&machine)), ("a".into(), "b".into()));
}

/// spec: BW-006
#[tokio::test]
async fn what_only_firmware_can_do_is_unsupported_without_it_and_changes_nothing() {
    let (machine, store) = with(Machine::without_firmware(), &["a"]).await;
    let before = tree(&machine.esp());
    let state = loader(&machine).read().await.unwrap();
    let once = BootPlan { one_shot: Some(entry_id(&state, "a")), ..new_default(&store, &state) };
    for plan in [new_trial(&store, &state), once] {
        let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
        assert_eq!((error.kind(), tree(&machine.esp())), (ErrorKind::Unsupported, before.clone()));
    }
    let capabilities = loader(&machine).capabilities();
    assert!(!capabilities.boot_counting && !capabilities.one_shot);
}

/// spec: BW-411
#[tokio::test]
async fn an_image_without_the_stub_is_told_which_package_has_it() {
    let (machine, mut store) = (Machine::new(), Store::new());
    let state = loader(&machine).read().await.unwrap();
    let plan = new_default(&store, &state);
    store.files.clear();
    let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("systemd-boot-efi"));
    assert!(tree(&machine.esp()).is_empty());
}

/// spec: BW-002, BW-102
#[tokio::test]
async fn staging_is_invisible_and_reads_nothing_for_entries_that_stay() {
    for machine in [Machine::new(), Machine::without_firmware()] {
        let (machine, store) = with(machine, &["a", "b"]).await;
        let before = loader(&machine).read().await.unwrap();
        let _ = loader(&machine).stage(&new_default(&store, &before), &store, Some(&store)).await.unwrap();
        assert_eq!(
            (loader(&machine).read().await.unwrap(), boots(&machine).unwrap()),
            (before.clone(), "b".into())
        );
        store.blobs.lock().unwrap().clear();
        let plan = plan_with(&before, keep(&before, "a"));
        let _ = loader(&machine).stage(&plan, &store, None).await.unwrap();
        assert_eq!((loader(&machine).read().await.unwrap(), boots(&machine).unwrap()), (before, "b".into()));
    }
}
