//! Plans over arbitrary states: no state, however odd, leads to a plan that could leave a machine unbootable.

use std::collections::BTreeSet;

use bootwright_core::{
    engine::{DeploymentRecord, Observed, Operation, StagedRecord, Step, Target, plan},
    model::{
        BootState, Deployment, DeploymentId, Digest, EntryId, ImageReference, PinnedImage, PublishedEntry,
        Stateroot,
    },
};
use proptest::prelude::*;

fn id(n: u8) -> DeploymentId {
    DeploymentId::new(format!("d{n}")).unwrap()
}

fn deployment(n: u8) -> Deployment {
    let reference: ImageReference = "docker://x/y".parse().unwrap();
    Deployment {
        id: id(n),
        stateroot: Stateroot::default(),
        image: PinnedImage {
            reference: reference.clone(),
            manifest_digest: Digest::from_sha256([n; 32]),
            version: None,
            created: None,
            architecture: "amd64".to_owned(),
        },
        origin: reference,
        finalized: true,
        verified: true,
        pinned_by_store: false,
    }
}

fn entry(n: u8, broken: bool) -> PublishedEntry {
    PublishedEntry {
        id: EntryId::new(format!("e{n}")).unwrap(),
        deployment: id(n),
        title: String::new(),
        version: None,
        cmdline: None,
        tries_left: None,
        tries_done: None,
        problem: broken.then(|| "broken".to_owned()),
    }
}

prop_compose! {
    fn observed()(
        stored in prop::collection::btree_set(0_u8..6, 0..6),
        entries in prop::collection::vec((0_u8..6, any::<bool>()), 0..7),
        booted in prop::option::of(0_u8..6),
        staged in prop::option::of((0_u8..6, any::<bool>())),
        pinned in prop::collection::btree_set(0_u8..6, 0..3),
        also in prop::option::of(0_u8..6),
    ) -> Observed {
        let record = |n: &u8| DeploymentRecord { pinned: pinned.contains(n), ..DeploymentRecord::default() };
        Observed {
            deployments: stored.iter().map(|n| (id(*n), deployment(*n))).collect(),
            records: stored.iter().map(|n| (id(*n), record(n))).collect(),
            booted: booted.filter(|n| stored.contains(n)).map(id),
            boot: BootState {
                entries: entries.iter().map(|(n, broken)| entry(*n, *broken)).collect(),
                also_bootable: also.map(id).into_iter().collect(),
                ..BootState::default()
            },
            staged: staged.map(|(n, hold)| StagedRecord { deployment: id(n), hold, boot_id: String::new() }),
            recorded: Vec::new(),
            failure: None,
        }
    }
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Install),
        any::<bool>().prop_map(|hold| Operation::Update { hold }),
        Just(Operation::Finalize),
        Just(Operation::Confirm),
        Just(Operation::CleanUp),
        Just(Operation::Rollback),
        Just(Operation::Gc),
    ]
}

fn kept(steps: &[Step]) -> Vec<&BTreeSet<DeploymentId>> {
    let kept = |step| match step {
        &Step::Retain(ref keep) | &Step::Sweep(ref keep) => Some(keep),
        _ => None,
    };
    steps.iter().filter_map(kept).collect()
}

proptest! {
    /// spec: BW-001
    #[test]
    fn what_runs_the_default_and_pins_are_never_deleted(observed in observed(), operation in operations()) {
        let Ok(steps) = plan(&operation, &observed) else { return Ok(()) };
        for keep in kept(&steps) {
            prop_assert!(!keep.is_empty());
            prop_assert!(observed.booted.iter().all(|id| keep.contains(id)));
            prop_assert!(observed.default_deployment().is_none_or(|id| keep.contains(id)));
            prop_assert!(observed.boot.also_bootable.is_subset(keep));
            let pinned = observed.records.iter().filter(|(_, record)| record.pinned);
            prop_assert!(pinned.map(|(id, _)| id).all(|id| keep.contains(id)));
            prop_assert!(observed.staged.iter().all(|staged| keep.contains(&staged.deployment)));
        }
    }

    /// spec: BW-105
    #[test]
    fn what_is_behind_the_default_stays_also_if_its_boot_files_cannot_be_read(
        observed in observed(),
        operation in operations(),
    ) {
        let Ok(steps) = plan(&operation, &observed) else { return Ok(()) };
        // Where a default without a tree is queued, what runs is the way back.
        let has_tree = |id: &DeploymentId| observed.deployments.contains_key(id);
        let mut behind = observed.order().into_iter().filter(|id| {
            Some(id) != observed.booted.as_ref() && has_tree(id)
        });
        if let (Some(_), Some(behind)) = (&observed.booted, behind.next())
            && observed.default_deployment().is_some_and(has_tree)
        {
            prop_assert!(kept(&steps).iter().all(|keep| keep.contains(&behind)), "{behind} goes: {steps:?}");
        }
    }

    /// spec: BW-129
    #[test]
    fn a_boot_of_something_else_than_the_default_deletes_nothing(observed in observed()) {
        if observed.default_deployment() == observed.booted.as_ref() {
            return Ok(());
        }
        let steps = plan(&Operation::CleanUp, &observed).unwrap();
        prop_assert!(kept(&steps).is_empty(), "{steps:?}");
    }

    /// spec: BW-003
    #[test]
    fn nothing_is_deleted_before_the_switch(observed in observed(), operation in operations()) {
        let Ok(steps) = plan(&operation, &observed) else { return Ok(()) };
        let switch = steps.iter().position(|step| matches!(step, Step::Publish(_)));
        let deletion = steps.iter().position(|step| matches!(step, Step::Retain(_) | Step::Sweep(_)));
        if let (Some(switch), Some(deletion)) = (switch, deletion) {
            prop_assert!(switch < deletion, "{steps:?}");
        }
    }

    /// spec: BW-001
    #[test]
    fn a_publication_keeps_what_runs_bootable(observed in observed(), operation in operations()) {
        let Ok(steps) = plan(&operation, &observed) else { return Ok(()) };
        for step in &steps {
            let Step::Publish(order) = step else { continue };
            prop_assert!(!order.is_empty());
            let unique: BTreeSet<_> = order.iter().map(|target| format!("{target:?}")).collect();
            prop_assert_eq!(unique.len(), order.len());
            if let Some(booted) = &observed.booted {
                prop_assert!(order.contains(&Target::Known(booted.clone())));
            }
        }
    }

    /// spec: BW-004, BW-103, BW-122
    #[test]
    fn a_rollback_never_leads_to_a_broken_entry_or_a_missing_tree(observed in observed()) {
        let Ok(steps) = plan(&Operation::Rollback, &observed) else { return Ok(()) };
        let Some(Step::Publish(order)) = steps.last() else { panic!("{steps:?}") };
        let Some(Target::Known(first)) = order.first() else { panic!("{order:?}") };
        prop_assert!(observed.deployments.contains_key(first) || Some(first) == observed.default_deployment());
        let sound = |id| observed.boot.entries.iter().any(|e| &e.deployment == id && e.problem.is_none());
        prop_assert!(sound(first) || observed.rollback_queued());
        prop_assert!(!steps.iter().any(|step| matches!(step, Step::Fetch | Step::Prepare | Step::Finalize(_))));
    }

    /// spec: BW-108
    #[test]
    fn a_download_on_hold_is_never_finalised(mut observed in observed()) {
        if let Some(staged) = &mut observed.staged {
            staged.hold = true;
        }
        prop_assert!(plan(&Operation::Finalize, &observed).unwrap().is_empty());
    }
}
