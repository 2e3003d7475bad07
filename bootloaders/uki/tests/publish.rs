//! Publishing, rollback, trials and clean-up, judged by a firmware that shares no code with the loader.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use bootwright_core::{
    Bootloader, ErrorKind,
    efi::{EfiVariables, GLOBAL_VENDOR, MemoryVariables, OUR_VENDOR, TRIAL},
    fs::Faults,
    model::{BootPlan, BootState, EntrySpec, PlannedEntry},
};
use bootwright_loader_uki::FirmwareUki;
use support::{
    Machine, PARTITION, Store, add, deployment, entry_id, keep, order, plan_with, publish, roll_back, set,
    tree, write,
};

fn loader(machine: &Machine) -> FirmwareUki {
    faulty(machine, &Faults::none())
}

fn faulty(machine: &Machine, faults: &Faults) -> FirmwareUki {
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

fn boots(machine: &Machine) -> Option<String> {
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
fn boot(machine: &Machine) -> String {
    let (number, id) = next_boot(machine).unwrap();
    let efi = machine.efi.as_ref().unwrap();
    efi.delete(GLOBAL_VENDOR, "BootNext").unwrap();
    match number {
        Some(number) => efi.write(GLOBAL_VENDOR, "BootCurrent", &number.to_le_bytes()).unwrap(),
        None => efi.delete(GLOBAL_VENDOR, "BootCurrent").unwrap(),
    }
    id
}

fn tried(spec: EntrySpec) -> EntrySpec {
    EntrySpec { tries: Some(1), ..spec }
}

async fn with(machine: Machine, ids: &[&str]) -> (Machine, Store) {
    let store = Store::new();
    for id in ids {
        add(&loader(&machine), &store, store.split(id)).await;
    }
    (machine, store)
}

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

type Make = fn(&Store, &BootState) -> BootPlan;

fn new_default(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(store.split("c"))))
}

fn new_trial(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(tried(store.split("c")))))
}

fn sealed(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(store.unified("c", "extra"))))
}

fn back(_: &Store, state: &BootState) -> BootPlan {
    plan_with(state, keep(state, "a"))
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

/// A disk that was installed elsewhere, in the machine that it is for.
async fn first_start(ids: &[&str]) -> (Machine, Store) {
    let (mut machine, store) = with(Machine::without_firmware(), ids).await;
    let efi = MemoryVariables::default();
    efi.write(GLOBAL_VENDOR, "Boot0000", b"\x01\0\0\0\x04\0F\0\0\0\x7f\xff\x04\0").unwrap();
    efi.write(GLOBAL_VENDOR, "BootOrder", &[0, 0]).unwrap();
    machine.efi = Some(std::sync::Arc::new(efi));
    (machine, store)
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

/// spec: BW-409
#[tokio::test]
async fn a_trial_boots_once_and_becomes_the_default_only_when_confirmed() {
    for first in [false, true] {
        let (machine, store) =
            if first { first_start(&["a"]).await } else { with(Machine::new(), &["a"]).await };
        add(&loader(&machine), &store, tried(store.split("b"))).await;
        let state = loader(&machine).read().await.unwrap();
        assert_eq!((order(&state), state.entries[0].tries_left), (vec!["b".into(), "a".into()], Some(1)));
        assert_eq!(boot(&machine), "b");
        let state = loader(&machine).read().await.unwrap();
        assert_eq!((order(&state), state.entries[1].tries_left), (vec!["a".into(), "b".into()], Some(0)));
        assert_eq!(boots(&machine).as_deref(), Some("a"), "not confirmed yet");
        loader(&machine).confirm(&deployment("b")).await.unwrap();
        loader(&machine).confirm(&deployment("b")).await.unwrap();
        assert_eq!(boot(&machine), "b");
        let state = loader(&machine).read().await.unwrap();
        assert_eq!((order(&state), state.generation), (vec!["b".into(), "a".into()], 2));
        assert!(state.entries.iter().all(|entry| entry.tries_left.is_none()));
    }
}

/// spec: BW-409
#[tokio::test]
async fn a_trial_that_fails_falls_back_stays_visible_and_is_removed_by_a_sweep() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    add(&loader(&machine), &store, tried(store.split("b"))).await;
    assert_eq!((boot(&machine), boot(&machine)), ("b".into(), "a".into()));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.entries[1].tries_left), (vec!["a".into(), "b".into()], Some(0)));
    loader(&machine).sweep(&set(&["a"])).await.unwrap();
    assert_eq!(order(&loader(&machine).read().await.unwrap()), ["a"]);
    add(&loader(&machine), &store, store.split("c")).await;
    assert_eq!(boot(&machine), "c");
}

/// Starts the machine, and whatever follows from it by itself early in that boot: what is in `fails` stops before that.
async fn boot_until_it_stays(machine: &Machine, fails: &str) -> Vec<String> {
    let mut started = Vec::new();
    loop {
        let id = boot(machine);
        let stays = id != fails && !loader(machine).try_again().await.unwrap();
        started.push(id);
        if stays {
            return started;
        }
    }
}

async fn trial_of_three(machine: &Machine, store: &Store) {
    add(&loader(machine), store, EntrySpec { tries: Some(3), ..store.split("b") }).await;
}

/// spec: BW-112, BW-421
#[tokio::test]
async fn a_trial_that_fails_early_is_started_again_from_what_it_falls_back_to_until_its_tries_are_used_up() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    trial_of_three(&machine, &store).await;
    let tries = |state: &BootState, at: usize| (state.entries[at].tries_left, state.entries[at].tries_done);
    assert_eq!(tries(&loader(&machine).read().await.unwrap(), 0), (Some(3), Some(0)));
    assert_eq!(boot_until_it_stays(&machine, "b").await, ["b", "a", "b", "a", "b", "a"]);
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), tries(&state, 1)), (vec!["a".into(), "b".into()], (Some(0), Some(3))));
    assert!(!loader(&machine).try_again().await.unwrap());
    assert_eq!(boots(&machine).as_deref(), Some("a"));
}

/// spec: BW-112, BW-421
#[tokio::test]
async fn a_trial_that_comes_so_far_arms_its_next_try_itself_and_confirming_withdraws_it() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    trial_of_three(&machine, &store).await;
    for left in [2, 1] {
        assert_eq!(boot_until_it_stays(&machine, "").await, ["b"], "no reboot from the trial itself");
        let state = loader(&machine).read().await.unwrap();
        assert_eq!((order(&state)[0].as_str(), state.entries[0].tries_left), ("b", Some(left)));
    }
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    assert_eq!(machine.efi.as_ref().unwrap().read(GLOBAL_VENDOR, "BootNext").unwrap(), None);
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.entries[0].tries_left), (vec!["b".into(), "a".into()], None));
    assert!(!loader(&machine).try_again().await.unwrap(), "what proved good is not tried");
}

/// spec: BW-112, BW-421
#[tokio::test]
async fn a_rollback_from_a_trial_ends_its_tries() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    trial_of_three(&machine, &store).await;
    assert_eq!(boot_until_it_stays(&machine, "").await, ["b"]);
    roll_back(&loader(&machine), &store, "a").await;
    assert_eq!(boot_until_it_stays(&machine, "").await, ["a"]);
}

/// Somebody asks the firmware for a boot of another system, as `efibootmgr --bootnext` does.
fn ask_for_another_system(machine: &Machine) {
    let efi = machine.efi.as_ref().unwrap();
    efi.write(GLOBAL_VENDOR, &format!("Boot{ANOTHER:04X}"), b"no option of ours").unwrap();
    efi.write(GLOBAL_VENDOR, "BootNext", &ANOTHER.to_le_bytes()).unwrap();
}

/// Number of an option that [`ask_for_another_system`] asks for.
const ANOTHER: u16 = 0x77;

/// The firmware starts what was asked for, if it still knows of it.
fn another_system_boots(machine: &Machine) {
    let next = machine.variable(GLOBAL_VENDOR, "BootNext");
    assert_eq!(next, Some(ANOTHER.to_le_bytes().to_vec()), "the wish was overwritten");
    machine.efi.as_ref().unwrap().delete(GLOBAL_VENDOR, "BootNext").unwrap();
}

/// spec: BW-425
#[tokio::test]
async fn a_trial_waits_for_the_boot_of_another_system_that_was_asked_for_and_has_all_its_tries_then() {
    for (fails, expected) in [("", vec!["a", "b"]), ("b", vec!["a", "b", "a", "b", "a", "b", "a"])] {
        let (machine, store) = with(Machine::new(), &["a"]).await;
        ask_for_another_system(&machine);
        trial_of_three(&machine, &store).await;
        let state = loader(&machine).read().await.unwrap();
        let waiting = &state.entries[0];
        assert_eq!(
            (order(&state), waiting.tries_left, waiting.tries_done),
            (vec!["b".into(), "a".into()], Some(3), Some(0))
        );
        another_system_boots(&machine);
        assert_eq!(boot_until_it_stays(&machine, fails).await, expected);
    }
}

/// spec: BW-425
#[tokio::test]
async fn a_trial_that_waits_can_be_rolled_back_and_replaced() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    ask_for_another_system(&machine);
    trial_of_three(&machine, &store).await;
    add(&loader(&machine), &store, EntrySpec { tries: Some(3), ..store.split("c") }).await;
    assert_eq!(order(&loader(&machine).read().await.unwrap())[0], "c");
    roll_back(&loader(&machine), &store, "a").await;
    another_system_boots(&machine);
    assert_eq!(boot_until_it_stays(&machine, "").await, ["a"]);
}

/// spec: BW-425
#[tokio::test]
async fn a_trial_that_early_boot_let_wait_is_armed_by_the_next_good_boot() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    ask_for_another_system(&machine);
    trial_of_three(&machine, &store).await;
    loader(&machine).confirm(&deployment("a")).await.unwrap();
    another_system_boots(&machine);
    assert_eq!(boot(&machine), "a", "an image whose early boot knows nothing of trials");
    loader(&machine).confirm(&deployment("a")).await.unwrap();
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// spec: BW-401, BW-425
#[tokio::test]
async fn a_power_cut_while_a_trial_is_made_to_wait_leaves_the_old_or_the_new_system() {
    let mut ends = BTreeSet::new();
    for n in 0.. {
        let (machine, store) = with(Machine::new(), &["a"]).await;
        ask_for_another_system(&machine);
        let plan = new_trial(&store, &loader(&machine).read().await.unwrap());
        let done = publish(&faulty(&machine, &Faults::stop_before(n)), &plan, &store).await.is_ok();
        let planned = order(&loader(&machine).read().await.unwrap())[0].clone();
        another_system_boots(&machine);
        let started = boot_until_it_stays(&machine, "").await;
        assert_eq!(started.last(), Some(&planned), "stopped before mutation {n}");
        ends.insert(planned);
        if done {
            break;
        }
    }
    assert_eq!(ends, ["a", "c"].map(str::to_owned).into());
}

/// spec: BW-421
#[tokio::test]
async fn the_next_good_boot_takes_away_a_note_that_a_power_cut_left() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    trial_of_three(&machine, &store).await;
    assert_eq!(boot(&machine), "b");
    let efi = machine.efi.as_ref().unwrap();
    let note = efi.read(OUR_VENDOR, TRIAL).unwrap().unwrap();
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    efi.write(OUR_VENDOR, TRIAL, &note).unwrap();
    assert_eq!(boot_until_it_stays(&machine, "").await, ["b"]);
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    assert_eq!(efi.read(OUR_VENDOR, TRIAL).unwrap(), None);
}

/// spec: BW-409, BW-421
#[tokio::test]
async fn a_plan_that_keeps_what_is_on_trial_in_front_leaves_it_on_trial() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    trial_of_three(&machine, &store).await;
    assert_eq!(boot_until_it_stays(&machine, "").await, ["b"]);
    let state = loader(&machine).read().await.unwrap();
    let plan = plan_with(&state, keep(&state, "b"));
    publish(&loader(&machine), &plan, &store).await.unwrap();
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.entries[0].tries_left), (vec!["b".into(), "a".into()], Some(2)));
    assert_eq!(boot_until_it_stays(&machine, "b").await, ["b", "a", "b", "a"]);
}

/// spec: BW-401, BW-421
#[tokio::test]
async fn a_power_cut_while_a_try_is_armed_costs_a_try_and_never_adds_one() {
    for n in 0.. {
        let (machine, store) = with(Machine::new(), &["a"]).await;
        trial_of_three(&machine, &store).await;
        assert_eq!((boot(&machine), boot(&machine)), ("b".into(), "a".into()));
        let done = faulty(&machine, &Faults::stop_before(n)).try_again().await.is_ok();
        let started = boot_until_it_stays(&machine, "b").await;
        let tries = started.iter().filter(|id| *id == "b").count();
        assert!((1..=2).contains(&tries), "stopped before mutation {n}: {started:?}");
        assert_eq!(started.last().map(String::as_str), Some("a"));
        if done {
            break;
        }
    }
}

#[tokio::test]
async fn a_trial_that_was_never_armed_does_not_look_like_a_failed_one() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    let plan = new_trial(&store, &loader(&machine).read().await.unwrap());
    for n in 0.. {
        let _ = publish(&faulty(&machine, &Faults::stop_before(n)), &plan, &store).await;
        if boots(&machine).as_deref() == Some("c") {
            return;
        }
        assert_eq!(order(&loader(&machine).read().await.unwrap()), ["a"], "stopped before mutation {n}");
    }
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_while_confirming_leaves_the_trial_open_or_confirmed() {
    for first in [false, true] {
        for n in 0.. {
            let (machine, store) =
                if first { first_start(&["a"]).await } else { with(Machine::new(), &["a"]).await };
            add(&loader(&machine), &store, tried(store.split("b"))).await;
            assert_eq!(boot(&machine), "b");
            let done = faulty(&machine, &Faults::stop_before(n)).confirm(&deployment("b")).await.is_ok();
            let state = loader(&machine).read().await.unwrap();
            assert_eq!(boots(&machine).unwrap(), order(&state)[0], "stopped before mutation {n}");
            assert_eq!(
                state.deployments(),
                set(&["a", "b"]),
                "a way back was lost, stopped before mutation {n}"
            );
            loader(&machine).confirm(&deployment("b")).await.unwrap();
            assert_eq!(boots(&machine).as_deref(), Some("b"));
            if done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_rollback_withdraws_a_trial_that_has_not_run() {
    let (machine, store) = with(Machine::new(), &["a"]).await;
    add(&loader(&machine), &store, tried(store.split("b"))).await;
    roll_back(&loader(&machine), &store, "a").await;
    assert_eq!(boots(&machine).as_deref(), Some("a"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state)[0].as_str(), state.generation), ("a", 3));
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
async fn the_room_that_is_asked_for_covers_what_is_written() {
    for machine in [Machine::new(), Machine::without_firmware()] {
        let (machine, store) = with(machine, &["a"]).await;
        let size = |machine: &Machine| tree(&machine.esp()).values().map(|c| c.len() as u64).sum::<u64>();
        let (before, state) = (size(&machine), loader(&machine).read().await.unwrap());
        let plan = new_default(&store, &state);
        let need = loader(&machine).space_needed(&plan).await.unwrap();
        publish(&loader(&machine), &plan, &store).await.unwrap();
        assert!(need[0].needed >= size(&machine) - before, "{need:?}");
    }
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
