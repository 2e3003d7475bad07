//! Trials, their further tries, and what ends them, judged by a firmware that shares no code with the loader.

#![expect(clippy::disallowed_methods, reason = "tests make and break files on purpose")]

mod firmware;
#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use bootwright_core::{
    Bootloader,
    efi::{EfiVariables, GLOBAL_VENDOR, OUR_VENDOR, TRIAL},
    fs::Faults,
    model::{BootState, EntrySpec},
};
use firmware::{boot, boots, faulty, first_start, loader, new_trial, tried, with};
use support::{Machine, Store, add, deployment, keep, order, plan_with, publish, roll_back, set};

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
