//! Clean-up. Needs root.

use std::collections::BTreeSet;

use bootwright_core::{
    error::ErrorKind,
    fs::{Fault, Faults},
    model::NoProgress,
};

use super::support::{Host, only, version};

/// spec: BW-308
#[tokio::test]
async fn a_clean_up_that_cannot_read_something_deletes_nothing_of_what_is_kept() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    let keep = BTreeSet::from([first.id.clone(), second.id.clone()]);
    let (one, two) = (host.cmdline(&first.id).await, host.cmdline(&second.id).await);
    for n in 0.. {
        let faults = Faults::fail_once(n, Fault::Read);
        let outcome = Host::open(host.context_with(faults.clone())).retain(&keep).await;
        let Some(failed) = faults.met() else {
            assert!(n > 4 && outcome.is_ok(), "{n} files and folders were read: {outcome:?}");
            return;
        };
        assert_eq!(host.ids().await, keep, "{failed} failed");
        let versions = [host.boots_version(&one), host.boots_version(&two)];
        assert_eq!(versions.map(Option::unwrap), ["1", "2"], "{failed} failed");
        let report = host.backend().verify(&NoProgress).await.unwrap();
        assert!(report.problems.is_empty(), "{failed} failed: {report:?}");
    }
}

/// spec: BW-308
#[tokio::test]
async fn exactly_what_is_not_kept_goes_and_links_stay() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    let third = host.deploy(&host.image(&version("3")), Some(&second.id)).await;
    std::fs::write(host.path("ostree/deploy/default/var/lib/mine"), "data").unwrap();
    let (two, three) = (host.cmdline(&second.id).await, host.cmdline(&third.id).await);
    let keep = [second.id.clone(), third.id.clone()].into();
    let removed = host.backend().retain(&keep).await.unwrap();
    assert!(removed.bytes > 0 && removed.items.contains(&format!("deployment {}", first.id)), "{removed:?}");
    assert_eq!(host.ids().await, keep);
    assert_eq!((host.cmdline(&second.id).await, host.cmdline(&third.id).await), (two.clone(), three.clone()));
    assert_eq!(host.boots_version(&two).as_deref(), Some("2"));
    assert_eq!(host.boots_version(&three).as_deref(), Some("3"));
    assert!(!host.path(&format!("ostree/deploy/default/deploy/{}.0", first.id)).exists());
    assert_eq!(host.read("ostree/deploy/default/var/lib/mine"), "data");
    let report = host.backend().verify(&NoProgress).await.unwrap();
    assert!(report.problems.is_empty() && report.checked > 0, "{report:?}");
}

/// spec: BW-304
#[tokio::test]
async fn cleaning_up_twice_removes_nothing_the_second_time() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    host.backend().retain(&only(&second)).await.unwrap();
    let removed = host.backend().retain(&only(&second)).await.unwrap();
    assert_eq!((removed.items.len(), removed.bytes), (0, 0), "{removed:?}");
}

/// spec: BW-308
#[tokio::test]
async fn keeping_nothing_is_refused_and_deletes_nothing() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let error = host.backend().retain(&BTreeSet::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(host.ids().await, only(&first));
}

/// spec: BW-001
#[tokio::test]
async fn what_runs_stays_with_its_link_whatever_is_asked() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let booted = host.cmdline(&first.id).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    // The second is published, and the first still runs, by a link of the other slot.
    let removed = Host::open(host.running(&booted)).retain(&only(&second)).await.unwrap();
    assert!(removed.items.is_empty(), "{removed:?}");
    assert_eq!(host.boots_version(&booted).as_deref(), Some("1"));
    assert_eq!(host.booted(&booted), Some(first.id.clone()));
    assert_eq!(host.ids().await.len(), 2);
}

/// spec: BW-308
#[tokio::test]
async fn a_deployment_that_is_only_prepared_is_kept_or_goes() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let second = host.prepare(&host.image(&version("2")), Some(&first.id)).await;
    let both = [first.id.clone(), second.id.clone()].into();
    host.backend().retain(&both).await.unwrap();
    host.backend().finalize(&second.id).await.unwrap();
    let third = host.prepare(&host.image(&version("3")), Some(&first.id)).await;
    host.backend().retain(&only(&first)).await.unwrap();
    assert_eq!(host.ids().await, only(&first));
    host.backend().boot_artifacts(&third.id).await.unwrap_err();
}

/// spec: BW-309
#[tokio::test]
async fn deployments_of_other_programs_are_left_alone() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let foreign = host.finalize(&host.image(&version("2")), Some(&first.id)).await;
    host.backend().published().await.unwrap();
    std::fs::remove_file(host.path(&format!("ostree/bootwright/deployments/{}.json", foreign.id))).unwrap();
    host.backend().retain(&only(&first)).await.unwrap();
    assert_eq!(host.ids().await, only(&first));
    assert!(host.path(&format!("ostree/deploy/default/deploy/{}.0", foreign.id)).exists());
}
