//! What a boot on trial notes of its failure, until the next good one has told it.

use bootwright_core::{
    engine::{Abandoned, Engine, Failure, FailureNote, Observed, Trial},
    fake::FakeMachine,
    fs::Faults,
    model::{DeploymentId, UnitName},
};

use super::support::{reboot, stage, stored, upgraded};

fn engine(machine: &FakeMachine) -> Engine {
    machine.engine(&Faults::none()).unwrap()
}

async fn observed(machine: &FakeMachine) -> Observed {
    engine(machine).observe().await.unwrap()
}

/// A machine that runs version 3 on trial, for the first time, and that deployment.
async fn on_trial() -> (FakeMachine, DeploymentId) {
    let (mut machine, ..) = upgraded().await;
    let three = stage(&machine, "3").await;
    engine(&machine).finalize_staged().await.unwrap();
    assert_eq!(machine.boot().await.unwrap().as_ref(), Some(&three));
    (machine, three)
}

fn note(machine: &FakeMachine, trial: Trial, unit: &str) {
    let failure = Failure::new([UnitName::new(unit).unwrap()], []);
    engine(machine).state().note_failure(&FailureNote { trial, failure }).unwrap();
}

/// What the boot that runs notes before it is given up.
async fn note_own(machine: &FakeMachine, unit: &str) {
    note(machine, observed(machine).await.trial().expect("no trial"), unit);
}

/// Reboots until something else than `tried` runs; nobody confirms a boot.
async fn fall_back(machine: &mut FakeMachine, tried: &DeploymentId) {
    for _ in 0..10 {
        if machine.boot().await.unwrap().as_ref() != Some(tried) {
            return;
        }
    }
    panic!("{tried} is started again and again");
}

/// Why something was left, for people; each once.
async fn reasons(machine: &FakeMachine) -> Vec<String> {
    let abandoned = engine(machine).status().await.unwrap().abandoned;
    abandoned.iter().map(|Abandoned { reason, .. }| reason.to_string()).collect()
}

const TOLD: &str = "did not reach boot-complete.target in 3 tries: check.service failed";
const UNTOLD: &str = "did not reach boot-complete.target in 3 tries";

/// spec: BW-134, BW-126
#[tokio::test]
async fn what_the_last_boot_noted_is_told_until_something_newer_proves_good() {
    let (mut machine, three) = on_trial().await;
    note_own(&machine, "early.service").await;
    machine.boot().await.unwrap();
    note_own(&machine, "check.service").await;
    fall_back(&mut machine, &three).await;
    assert_eq!(reasons(&machine).await, [TOLD], "before it is recorded");
    engine(&machine).confirm_boot().await.unwrap();
    assert_eq!(reasons(&machine).await, [TOLD], "after it was recorded");
    assert!(!stored(&machine).await.contains(&three));
    assert_eq!(engine(&machine).state().failure(), None, "the note is part of the record");
    stage(&machine, "4").await;
    reboot(&mut machine).await;
    assert!(reasons(&machine).await.is_empty());
}

/// spec: BW-134
#[tokio::test]
async fn a_note_of_another_deployment_or_of_an_earlier_trial_is_not_used() {
    let (machine, three) = on_trial().await;
    let own = observed(&machine).await.trial().unwrap();
    let two = observed(&machine).await.rollback_target().unwrap().clone();
    let others = [Trial { deployment: two, ..own.clone() }, Trial { sequence: own.sequence - 1, ..own }];
    for other in others {
        let (mut machine, _) = on_trial().await;
        note(&machine, other.clone(), "check.service");
        fall_back(&mut machine, &three).await;
        engine(&machine).confirm_boot().await.unwrap();
        assert_eq!(reasons(&machine).await, [UNTOLD], "{other:?}");
        assert_eq!(engine(&machine).state().failure(), None, "nobody will need it: {other:?}");
    }
}

/// spec: BW-134
#[tokio::test]
async fn a_note_goes_when_a_later_boot_of_the_same_trial_proves_good() {
    let (mut machine, three) = on_trial().await;
    note_own(&machine, "check.service").await;
    engine(&machine).gc().await.unwrap();
    assert!(engine(&machine).state().failure().is_some(), "the trial goes on");
    assert_eq!(machine.boot().await.unwrap(), Some(three));
    engine(&machine).confirm_boot().await.unwrap();
    assert_eq!(engine(&machine).state().failure(), None);
    assert!(reasons(&machine).await.is_empty());
}

/// spec: BW-134, BW-005
#[tokio::test]
async fn whenever_power_is_cut_between_note_and_record_the_reason_is_told_once() {
    for stop in 0.. {
        let (mut machine, three) = on_trial().await;
        note_own(&machine, "check.service").await;
        fall_back(&mut machine, &three).await;
        let stopped = machine.engine(&Faults::stop_before(stop)).unwrap().confirm_boot().await.is_err();
        assert_eq!(reasons(&machine).await, [TOLD], "cut at {stop}");
        machine.boot().await.unwrap();
        engine(&machine).confirm_boot().await.unwrap();
        assert_eq!(reasons(&machine).await, [TOLD], "cut at {stop}, recovered");
        assert_eq!(engine(&machine).state().failure(), None, "cut at {stop}");
        if !stopped {
            assert!(stop > 4, "only {stop} changes were counted");
            break;
        }
    }
}
