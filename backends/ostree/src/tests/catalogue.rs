//! What boots stays what it is until something is published. Needs root.

use super::support::{Host, only, version};

/// spec: BW-002, BW-318
#[tokio::test]
async fn published_links_lead_to_their_trees_until_the_next_publication() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let published = host.cmdline(&first.id).await;
    let second = host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    assert_eq!(host.boots_version(&published).as_deref(), Some("1"));
    let (new, old) = (host.cmdline(&second.id).await, host.cmdline(&first.id).await);
    assert_ne!(old, published, "links of every deployment move");
    assert_eq!(host.boots_version(&new).as_deref(), Some("2"));
    assert_eq!(host.boots_version(&old).as_deref(), Some("1"));
}

/// spec: BW-002, BW-318
#[tokio::test]
async fn a_list_that_was_never_published_gives_its_slot_to_the_next_one() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let published = host.cmdline(&first.id).await;
    // Power is cut before the publication; then another version comes out.
    host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    for round in ["3", "4"] {
        let next = host.finalize(&host.image(&version(round)), Some(&first.id)).await;
        assert_eq!(host.boots_version(&published).as_deref(), Some("1"), "{round}");
        assert_eq!(host.boots_version(&host.cmdline(&next.id).await).as_deref(), Some(round));
    }
}

/// spec: BW-002, BW-318
#[tokio::test]
async fn many_publications_without_a_reboot_never_touch_what_was_published_last() {
    let host = Host::initialized().await;
    let mut last = host.deploy(&host.image(&version("0")), None).await;
    for round in 1..5 {
        let published = host.cmdline(&last.id).await;
        let next = host.finalize(&host.image(&version(&round.to_string())), Some(&last.id)).await;
        assert_eq!(host.boots_version(&published), Some((round - 1).to_string()));
        host.backend().published().await.unwrap();
        last = next;
    }
}

#[tokio::test]
async fn what_is_predicted_after_a_missed_publication_is_what_comes() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    let third = host.prepare(&host.image(&version("3")), Some(&first.id)).await;
    let predicted = host.cmdline(&third.id).await;
    host.backend().finalize(&third.id).await.unwrap();
    assert_eq!(host.cmdline(&third.id).await, predicted);
}

/// spec: BW-002, BW-318
#[tokio::test]
async fn switching_back_checks_out_anew_and_leaves_the_published_folder_alone() {
    let host = Host::initialized().await;
    let image = host.image(&version("1"));
    let first = host.deploy(&image, None).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    std::fs::write(host.etc(&second.id).await.join("hostname"), "from the second\n").unwrap();
    let published = host.boots(&host.cmdline(&first.id).await).unwrap();

    let again = host.finalize(&image, Some(&second.id)).await;
    assert_eq!(again.id, first.id);
    let etc = host.etc(&again.id).await;
    assert_ne!(etc, published.join("etc"));
    assert_eq!(std::fs::read_to_string(etc.join("hostname")).unwrap(), "from the second\n");
    assert_eq!(std::fs::read_to_string(published.join("etc/hostname")).unwrap(), "default\n");
    assert_eq!(host.ids().await.len(), 2);
}

/// spec: BW-001
#[tokio::test]
async fn what_runs_is_not_finalised_again() {
    let host = Host::initialized().await;
    let image = host.image(&version("1"));
    let first = host.deploy(&image, None).await;
    let cmdline = host.cmdline(&first.id).await;
    let before = host.boots(&cmdline);
    host.prepare(&image, Some(&first.id)).await;
    Host::open(host.running(&cmdline)).finalize(&first.id).await.unwrap();
    assert_eq!((host.cmdline(&first.id).await, host.boots(&cmdline)), (cmdline, before));
}

/// After a power cut between list and publication, the machine runs the old tree by the old link, and cleans up.
///
/// spec: BW-001, BW-004
#[tokio::test]
async fn a_clean_up_after_a_missed_publication_gives_up_what_nobody_keeps() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let published = host.cmdline(&first.id).await;
    let second = host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    Host::open(host.running(&published)).retain(&only(&first)).await.unwrap();
    assert_eq!(host.boots_version(&published).as_deref(), Some("1"));
    assert_eq!(host.cmdline(&first.id).await, published);
    assert!(!host.ids().await.contains(&second.id));
    assert!(!host.path(&format!("ostree/deploy/default/deploy/{}.0", second.id)).exists());
}

/// spec: BW-002, BW-318
#[tokio::test]
async fn a_clean_up_after_a_missed_publication_keeps_what_is_still_staged() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let published = host.cmdline(&first.id).await;
    let second = host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    let both = [first.id.clone(), second.id.clone()].into();
    Host::open(host.running(&published)).retain(&both).await.unwrap();
    assert_eq!(host.boots_version(&published).as_deref(), Some("1"));
    assert_eq!(host.boots_version(&host.cmdline(&second.id).await).as_deref(), Some("2"));
    host.backend().finalize(&second.id).await.unwrap();
    assert_eq!(host.boots_version(&published).as_deref(), Some("1"));
}

#[tokio::test]
async fn deployments_that_were_never_published_can_be_merged_from() {
    let host = Host::initialized().await;
    let first = host.finalize(&host.image(&version("1")), None).await;
    std::fs::write(host.etc(&first.id).await.join("hostname"), "mine\n").unwrap();
    let second = host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    let etc = host.etc(&second.id).await;
    assert_eq!(std::fs::read_to_string(etc.join("hostname")).unwrap(), "mine\n");
    assert_eq!(host.boots_version(&host.cmdline(&first.id).await).as_deref(), Some("1"));
    host.backend().retain(&only(&second)).await.unwrap();
    assert_eq!(host.boots_version(&host.cmdline(&second.id).await).as_deref(), Some("2"));
    assert_eq!(host.ids().await, only(&second));
}

/// Somebody ran `ostree admin cleanup` between the list and its publication.
#[tokio::test]
async fn a_slot_that_somebody_removed_does_not_stop_the_next_finalisation() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    let sysroot = format!("--sysroot={}", host.path("").display());
    let tool = bootwright_core::process::Tool::new("ostree").args(["admin", &sysroot, "cleanup"]);
    tool.run_blocking().unwrap();
    let third = host.deploy(&host.image(&version("3")), Some(&first.id)).await;
    assert_eq!(host.boots_version(&host.cmdline(&third.id).await).as_deref(), Some("3"));
}

/// spec: BW-313
#[tokio::test]
async fn what_runs_is_known_by_its_folder_when_its_link_was_used_again() {
    let host = Host::initialized().await;
    let mut last = host.deploy(&host.image(&version("0")), None).await;
    let booted = host.cmdline(&last.id).await;
    let root = host.boots(&booted).unwrap();
    let running = bootwright_core::fs::Root::open(root, bootwright_core::fs::Faults::none()).unwrap();
    let first = last.id.clone();
    for round in ["1", "2"] {
        last = host.deploy(&host.image(&version(round)), Some(&last.id)).await;
    }
    assert_eq!(host.booted(&booted), Some(last.id), "the link alone leads to the newest now");
    let context = bootwright_core::context::BackendContext { running_root: Some(running), ..host.context() };
    assert_eq!(Host::open(context).booted(&booted).await.unwrap(), Some(first));
}
