//! Power is cut before each mutation of each verb in turn; then before each mutation of the recovery as well.

use std::{future::Future, pin::Pin};

use bootwright_core::{
    Bootloader as _, Result, StorageBackend as _,
    engine::{Engine, UpdateMode},
    fake::{FakeImage, FakeMachine},
    fs::Faults,
    model::DeploymentId,
};

use super::support::{installed, origin, reboot, stage, stored, upgrade, upgraded};

type Pending<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
type Verb = for<'a> fn(&'a Engine) -> Pending<'a>;

/// A verb, the machine that it runs on, and the deployments that may be running after a crash and a reboot.
struct Case {
    name: &'static str,
    verb: Verb,
    machine: fn() -> Pin<Box<dyn Future<Output = FakeMachine>>>,
}

const CASES: &[Case] = &[
    Case {
        name: "upgrade",
        verb: |engine| Box::pin(async { engine.update(&upgrade(UpdateMode::Stage)).await.map(drop) }),
        machine: || {
            Box::pin(async {
                let (machine, ..) = upgraded().await;
                machine.publish_image(&origin(), FakeImage::bootable("3"));
                machine
            })
        },
    },
    Case {
        name: "finalize",
        verb: |engine| Box::pin(async { engine.finalize_staged().await.map(drop) }),
        machine: || {
            Box::pin(async {
                let (machine, ..) = upgraded().await;
                stage(&machine, "3").await;
                machine
            })
        },
    },
    Case {
        name: "confirm",
        verb: |engine| Box::pin(async { engine.confirm_boot().await.map(drop) }),
        machine: || {
            Box::pin(async {
                let (mut machine, ..) = upgraded().await;
                stage(&machine, "3").await;
                machine.engine(&Faults::none()).unwrap().finalize_staged().await.unwrap();
                machine.boot().await.unwrap();
                machine
            })
        },
    },
    Case {
        name: "rollback",
        verb: |engine| Box::pin(async { engine.rollback().await.map(drop) }),
        machine: || Box::pin(async { upgraded().await.0 }),
    },
    Case {
        name: "gc",
        verb: |engine| Box::pin(async { engine.gc().await.map(drop) }),
        machine: || Box::pin(async { installed().await.0 }),
    },
];

/// Mutations of an undisturbed run.
async fn mutations(case: &Case) -> u64 {
    let machine = (case.machine)().await;
    let faults = Faults::none();
    (case.verb)(&machine.engine(&faults).unwrap()).await.unwrap();
    faults.count()
}

/// spec: BW-001, BW-004
#[tokio::test]
async fn whenever_power_is_cut_the_machine_boots_and_recovers() {
    for case in CASES {
        for stop in 0..=mutations(case).await {
            let mut machine = (case.machine)().await;
            let before = running(&machine).await;
            let _ = (case.verb)(&machine.engine(&Faults::stop_before(stop)).unwrap()).await;
            check_whole(&machine, before.as_ref(), &format!("{} cut at {stop}", case.name)).await;
            machine
                .boot()
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("{} cut at {stop}: nothing boots", case.name));
            let engine = machine.engine(&Faults::none()).unwrap();
            engine.confirm_boot().await.unwrap_or_else(|e| panic!("{} cut at {stop}: {e}", case.name));
            reboot(&mut machine).await;
            check_idle(&machine, &format!("{} cut at {stop}", case.name)).await;
        }
    }
}

/// spec: BW-001, BW-005
#[tokio::test]
async fn a_second_cut_during_recovery_changes_nothing_about_the_outcome() {
    for case in CASES {
        for stop in 0..=mutations(case).await {
            for second in 0..=recovery_mutations(case, stop).await {
                let machine = (case.machine)().await;
                let before = running(&machine).await;
                let _ = (case.verb)(&machine.engine(&Faults::stop_before(stop)).unwrap()).await;
                let _ = machine.engine(&Faults::stop_before(second)).unwrap().recover().await;
                let label = format!("{} cut at {stop}, recovery at {second}", case.name);
                check_whole(&machine, before.as_ref(), &label).await;
                machine.engine(&Faults::none()).unwrap().recover().await.unwrap();
                check_whole(&machine, before.as_ref(), &label).await;
                check_idle(&machine, &label).await;
            }
        }
    }
}

/// Mutations of an undisturbed recovery after a cut at `stop`.
async fn recovery_mutations(case: &Case, stop: u64) -> u64 {
    let machine = (case.machine)().await;
    let _ = (case.verb)(&machine.engine(&Faults::stop_before(stop)).unwrap()).await;
    let faults = Faults::none();
    machine.engine(&faults).unwrap().recover().await.unwrap();
    faults.count()
}

async fn running(machine: &FakeMachine) -> Option<DeploymentId> {
    let status = machine.engine(&Faults::none()).unwrap().status().await.unwrap();
    status.booted.map(|booted| booted.deployment.id)
}

/// I1 and I4: what runs is still there, and every published entry has a whole kernel and a finalised tree.
async fn check_whole(machine: &FakeMachine, running: Option<&DeploymentId>, label: &str) {
    let state = machine.loader(&Faults::none()).read().await.unwrap();
    let trees = machine.backend(&Faults::none()).deployments().await.unwrap();
    assert!(!state.entries.is_empty(), "{label}: no entries");
    for entry in &state.entries {
        let tree = trees.iter().find(|tree| tree.id == entry.deployment);
        assert!(tree.is_some_and(|tree| tree.finalized), "{label}: {} has no tree", entry.deployment);
        assert!(entry.problem.is_none(), "{label}: {:?}", entry.problem);
    }
    if let Some(running) = running {
        assert!(trees.iter().any(|tree| &tree.id == running), "{label}: what runs is gone");
        assert!(state.entry_of(running).is_some(), "{label}: the entry of what runs is gone");
    }
}

/// After recovery: no journal, no record of what does not exist, and a backend that knows what is published.
async fn check_idle(machine: &FakeMachine, label: &str) {
    let status = machine.engine(&Faults::none()).unwrap().status().await.unwrap();
    assert!(status.interrupted.is_none(), "{label}: {:?}", status.interrupted);
    assert!(!stored(machine).await.is_empty(), "{label}");
    if let Some(unpublished) = machine.unpublished() {
        let state = machine.loader(&Faults::none()).read().await.unwrap();
        let entry = state.entry_of(&unpublished);
        assert!(entry.is_none(), "{label}: the backend does not know that {unpublished} is published");
    }
}
