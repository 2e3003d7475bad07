//! Install, upgrade, roll back, clean up: what a person sees.

use bootwright_core::{
    engine::{UpdateMode, UpdateOutcome, UpdateRequest},
    fake::{FakeImage, FakeMachine},
    fs::Faults,
};

use super::support::{
    install_request, installed, origin, published, reboot, stage, stored, upgrade, upgraded,
};

/// spec: BW-002, BW-101
#[tokio::test]
async fn a_staged_deployment_boots_only_after_shutdown() {
    let (mut machine, one) = installed().await;
    let two = stage(&machine, "2").await;
    assert_eq!(published(&machine).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(reboot(&mut machine).await, two);
    assert_eq!(published(&machine).await.unwrap(), [two, one]);
}

/// spec: BW-202
#[tokio::test]
async fn local_changes_in_etc_made_after_staging_are_kept() {
    let (mut machine, one) = installed().await;
    let two = stage(&machine, "2").await;
    machine.edit_etc(&one, "mine", "late");
    reboot(&mut machine).await;
    assert_eq!(machine.etc(&two).get("mine").map(String::as_str), Some("late"));
    assert_eq!(machine.etc(&two).get("default").map(String::as_str), Some("2"));
}

/// spec: BW-102
#[tokio::test]
async fn rollback_boots_the_previous_deployment_and_makes_no_backend_write() {
    let (mut machine, one, two) = upgraded().await;
    let counted = Faults::none().with_log();
    assert_eq!(machine.engine(&counted).unwrap().rollback().await.unwrap(), one);
    let writes: Vec<_> = counted
        .log()
        .into_iter()
        .filter(|what| what.contains("fake") && !what.contains("boot order"))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(reboot(&mut machine).await, one);
    assert_eq!(stored(&machine).await.len(), 2, "the way forward is still there: {two}");
}

/// A rollback publishes what was published before: nothing that was finalised since.
///
/// spec: BW-317
#[tokio::test]
async fn the_backend_hears_of_the_publication_of_what_it_finalised_and_of_no_other() {
    use bootwright_core::StorageBackend as _;
    let (machine, ..) = upgraded().await;
    assert_eq!(machine.unpublished(), None);
    let three = stage(&machine, "3").await;
    // Power is cut after the finalisation, before the publication.
    machine.backend(&Faults::none()).finalize(&three).await.unwrap();
    machine.engine(&Faults::none()).unwrap().rollback().await.unwrap();
    assert_eq!(machine.unpublished(), Some(three));
}

/// spec: BW-321
#[tokio::test]
async fn a_boot_after_which_nothing_changed_does_not_search_the_store() {
    let (mut machine, ..) = upgraded().await;
    let searched = machine.clean_ups();
    reboot(&mut machine).await;
    assert_eq!(machine.clean_ups(), searched, "nothing happened, and all was searched");
    machine.engine(&Faults::none()).unwrap().gc().await.unwrap();
    assert_eq!(machine.clean_ups(), searched + 1, "somebody asked for it");
}

/// An upgrade is stopped before each of its changes, after clean-ups that found nothing more.
///
/// spec: BW-321
#[tokio::test]
async fn what_an_interrupted_upgrade_fetched_is_cleaned_up_after_the_next_boot() {
    for stop in 0.. {
        let (mut machine, ..) = upgraded().await;
        machine.publish_image(&origin(), FakeImage::bootable("3"));
        let faults = Faults::stop_before(stop);
        let done = machine.engine(&faults).unwrap().update(&upgrade(UpdateMode::Stage)).await.is_ok();
        machine.boot().await.unwrap();
        machine.engine(&Faults::none()).unwrap().confirm_boot().await.unwrap();
        assert_eq!(machine.images_held(), stored(&machine).await.len(), "stopped before change {stop}");
        if done {
            assert!(stop > 5, "an upgrade of {stop} changes");
            return;
        }
    }
}

/// spec: BW-103
#[tokio::test]
async fn a_second_rollback_before_the_reboot_undoes_the_first() {
    let (machine, one, two) = upgraded().await;
    let engine = machine.engine(&Faults::none()).unwrap();
    assert_eq!(engine.rollback().await.unwrap(), one);
    let status = engine.status().await.unwrap();
    assert!(status.rollback_queued);
    assert_eq!(status.rollback.unwrap().deployment.id, one);
    assert_eq!(engine.rollback().await.unwrap(), two);
    assert!(!engine.status().await.unwrap().rollback_queued);
}

/// spec: BW-103
#[tokio::test]
async fn rolling_forward_after_a_rollback_works() {
    let (mut machine, one, two) = upgraded().await;
    machine.engine(&Faults::none()).unwrap().rollback().await.unwrap();
    assert_eq!(reboot(&mut machine).await, one);
    machine.engine(&Faults::none()).unwrap().rollback().await.unwrap();
    assert_eq!(reboot(&mut machine).await, two);
}

/// spec: BW-104
#[tokio::test]
async fn rollback_drops_what_was_staged() {
    let (mut machine, one, _two) = upgraded().await;
    stage(&machine, "3").await;
    machine.engine(&Faults::none()).unwrap().rollback().await.unwrap();
    assert_eq!(reboot(&mut machine).await, one);
    assert!(machine.engine(&Faults::none()).unwrap().status().await.unwrap().staged.is_none());
}

/// spec: BW-105
#[tokio::test]
async fn a_good_boot_removes_what_nothing_needs() {
    let (mut machine, one, two) = upgraded().await;
    let three = stage(&machine, "3").await;
    assert_eq!(reboot(&mut machine).await, three);
    let left = stored(&machine).await;
    assert!(!left.contains(&one) && left.contains(&two) && left.contains(&three), "{left:?}");
    assert_eq!(published(&machine).await.unwrap(), [three, two]);
}

/// spec: BW-105
#[tokio::test]
async fn a_pinned_deployment_outlives_two_upgrades_and_gc() {
    let (mut machine, one, _two) = upgraded().await;
    machine.engine(&Faults::none()).unwrap().set_pinned(&one, true).await.unwrap();
    for version in ["3", "4"] {
        stage(&machine, version).await;
        reboot(&mut machine).await;
    }
    machine.engine(&Faults::none()).unwrap().gc().await.unwrap();
    assert!(stored(&machine).await.contains(&one));
    assert!(published(&machine).await.unwrap().contains(&one));
}

/// spec: BW-106
#[tokio::test]
async fn check_writes_nothing() {
    let (machine, _one) = installed().await;
    machine.publish_image(&origin(), FakeImage::bootable("2"));
    let nothing_allowed = Faults::stop_before(0);
    let engine = machine.engine(&nothing_allowed).unwrap();
    let outcome = engine.update(&upgrade(UpdateMode::Check)).await.unwrap();
    assert!(matches!(outcome, UpdateOutcome::Available(..)), "{outcome:?}");
    assert_eq!(nothing_allowed.count(), 0);
}

/// spec: BW-107
#[tokio::test]
async fn an_unchanged_image_is_not_staged_again() {
    let (machine, _one) = installed().await;
    let engine = machine.engine(&Faults::none()).unwrap();
    let outcome = engine.update(&upgrade(UpdateMode::Stage)).await.unwrap();
    assert!(matches!(outcome, UpdateOutcome::UpToDate(_)), "{outcome:?}");
}

/// spec: BW-108
#[tokio::test]
async fn a_download_waits_until_it_is_asked_for() {
    let (mut machine, one) = installed().await;
    machine.publish_image(&origin(), FakeImage::bootable("2"));
    let engine = machine.engine(&Faults::none()).unwrap();
    let outcome = engine.update(&upgrade(UpdateMode::DownloadOnly)).await.unwrap();
    let UpdateOutcome::Staged { deployment: two, hold: true, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reboot(&mut machine).await, one);
    let engine = machine.engine(&Faults::none()).unwrap();
    engine.update(&upgrade(UpdateMode::Stage)).await.unwrap();
    assert_eq!(reboot(&mut machine).await, two);
}

/// spec: BW-109
#[tokio::test]
async fn switching_follows_the_new_origin_from_then_on() {
    let (mut machine, _one) = installed().await;
    let other = "docker://images/other:latest".parse().unwrap();
    machine.publish_image(&other, FakeImage::bootable("other"));
    let request = UpdateRequest { image: Some(other.clone()), mode: UpdateMode::Stage, retry: false };
    machine.engine(&Faults::none()).unwrap().update(&request).await.unwrap();
    let booted = reboot(&mut machine).await;
    let status = machine.engine(&Faults::none()).unwrap().status().await.unwrap();
    let now = status.booted.unwrap().deployment;
    assert_eq!((now.id, now.origin), (booted, other));
}

/// spec: BW-110
#[tokio::test]
async fn kernel_arguments_of_the_machine_are_kept_across_an_upgrade() {
    let (machine, _one, two) = upgraded().await;
    let status = machine.engine(&Faults::none()).unwrap().status().await.unwrap();
    let entry = status.booted.filter(|d| d.deployment.id == two).unwrap().entry.unwrap();
    let cmdline = entry.cmdline.unwrap().to_string();
    assert!(cmdline.contains("root=UUID=1") && cmdline.contains(&format!("fake={two}")), "{cmdline}");
}

/// spec: BW-111
#[tokio::test]
async fn a_power_cut_before_shutdown_is_reported_and_the_deployment_stays_staged() {
    let (mut machine, one) = installed().await;
    let two = stage(&machine, "2").await;
    assert_eq!(machine.boot().await.unwrap(), Some(one));
    let engine = machine.engine(&Faults::none()).unwrap();
    assert!(engine.status().await.unwrap().finalization_missed);
    assert_eq!(engine.confirm_boot().await.unwrap().unwrap().deployment, two);
    assert_eq!(reboot(&mut machine).await, two);
}

/// spec: BW-112
#[tokio::test]
async fn a_new_deployment_is_counted_until_it_is_confirmed() {
    let (mut machine, _one) = installed().await;
    stage(&machine, "2").await;
    machine.engine(&Faults::none()).unwrap().finalize_staged().await.unwrap();
    machine.boot().await.unwrap();
    let tries = async |machine: &FakeMachine| {
        machine
            .engine(&Faults::none())
            .unwrap()
            .status()
            .await
            .unwrap()
            .booted
            .unwrap()
            .entry
            .unwrap()
            .tries_left
    };
    let on_trial = async |machine: &FakeMachine| {
        machine.engine(&Faults::none()).unwrap().observe().await.unwrap().on_trial()
    };
    assert!(tries(&machine).await.is_some() && on_trial(&machine).await);
    machine.engine(&Faults::none()).unwrap().confirm_boot().await.unwrap();
    assert!(tries(&machine).await.is_none() && !on_trial(&machine).await);
}

/// spec: BW-113
#[tokio::test]
async fn the_oldest_unused_deployment_gives_way_when_room_is_short() {
    let (mut machine, one, two) = upgraded().await;
    machine.limit_entries(2);
    let three = stage_with_short_room(&machine).await;
    assert_eq!(reboot(&mut machine).await, three);
    let left = stored(&machine).await;
    assert!(left.contains(&two) && !left.contains(&one), "{left:?}");
}

async fn stage_with_short_room(
    machine: &bootwright_core::fake::FakeMachine,
) -> bootwright_core::model::DeploymentId {
    stage(machine, "3").await
}

/// spec: BW-116
#[tokio::test]
async fn installing_twice_is_refused() {
    let (machine, _one) = installed().await;
    let error = machine.engine(&Faults::none()).unwrap().install(&install_request()).await.unwrap_err();
    assert!(error.to_string().contains("has a system already"), "{error}");
}

/// spec: BW-122
#[tokio::test]
async fn a_rollback_never_leads_to_a_deployment_that_failed_its_trial() {
    use bootwright_core::engine::{Observed, Operation, plan};
    let (machine, one, _two) = upgraded().await;
    let mut observed: Observed = machine.engine(&Faults::none()).unwrap().observe().await.unwrap();
    for entry in observed.boot.entries.iter_mut().filter(|entry| entry.deployment == one) {
        entry.tries_left = Some(0);
    }
    assert!(observed.rollback_target().is_none());
    assert!(plan(&Operation::Rollback, &observed).is_err());
}

/// spec: BW-122
#[tokio::test]
async fn what_runs_on_trial_is_not_taken_for_a_queued_rollback() {
    let (machine, _one, two) = upgraded().await;
    let mut observed = machine.engine(&Faults::none()).unwrap().observe().await.unwrap();
    // Some loaders keep the old default until the trial is confirmed.
    observed.boot.entries.reverse();
    assert!(observed.rollback_queued());
    for entry in observed.boot.entries.iter_mut().filter(|entry| entry.deployment == two) {
        entry.tries_left = Some(0);
    }
    assert!(!observed.rollback_queued());
}

/// spec: BW-105
#[tokio::test]
async fn an_image_without_loader_binaries_still_gets_a_clean_boot() {
    let (mut machine, one, _two) = upgraded().await;
    let mut bare = FakeImage::bootable("3");
    bare.files.remove("usr/lib/fake-loader");
    machine.publish_image(&origin(), bare);
    machine.engine(&Faults::none()).unwrap().update(&upgrade(UpdateMode::Stage)).await.unwrap();
    reboot(&mut machine).await;
    assert!(!stored(&machine).await.contains(&one), "the clean-up did not run");
}

/// spec: BW-324
#[tokio::test]
async fn what_the_store_itself_pinned_stays_until_it_is_unpinned() {
    let (mut machine, one, _two) = upgraded().await;
    machine.pin_in_store(&one);
    stage(&machine, "3").await;
    reboot(&mut machine).await;
    machine.engine(&Faults::none()).unwrap().gc().await.unwrap();
    assert!(stored(&machine).await.contains(&one) && published(&machine).await.unwrap().contains(&one));
    let status = machine.engine(&Faults::none()).unwrap().status().await.unwrap();
    let shown = status.others.iter().find(|other| other.deployment.id == one).unwrap();
    assert!(shown.is_pinned(), "{shown:?}");
    let engine = machine.engine(&Faults::none()).unwrap();
    engine.set_pinned(&one, false).await.unwrap();
    engine.gc().await.unwrap();
    assert!(!stored(&machine).await.contains(&one), "what is no longer pinned is still there");
}
