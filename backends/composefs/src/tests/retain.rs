//! Clean-up. Needs root: an image has files of several owners.

use std::collections::BTreeSet;

use bootwright_core::{
    error::ErrorKind,
    fs::{Fault, Faults, TEMPORARY_PREFIX},
    model::{Deployment, DeploymentId},
};

use super::{
    image::{Entry, Image, big},
    support::{Host, Recorder, snapshot},
};

async fn two(host: &Host) -> (Deployment, Deployment) {
    let first = host.deploy(&host.image("v1", &version("1")), None).await;
    let second = host.deploy(&host.image("v2", &version("2")), Some(&first.id)).await;
    (first, second)
}

/// Images that share a layer and have one each.
fn version(version: &'static str) -> Image {
    let own = vec![Entry::File("usr/lib/version", big(version))];
    Image { version, ..Image::bootable("0") }.layer(own)
}

fn only(deployment: &Deployment) -> BTreeSet<DeploymentId> {
    BTreeSet::from([deployment.id.clone()])
}

/// spec: BW-308
#[tokio::test]
async fn exactly_what_is_not_kept_goes() {
    let host = Host::initialized().await;
    let (first, second) = two(&host).await;
    std::fs::write(host.path("state/os/default/var/lib/mine"), "data").unwrap();
    let removed = host.backend().retain(&only(&second)).await.unwrap();
    assert!(removed.bytes > 0 && removed.items.contains(&format!("deployment {}", first.id)), "{removed:?}");
    let left = host.backend().deployments().await.unwrap();
    assert_eq!(left.iter().map(|d| &d.id).collect::<Vec<_>>(), [&second.id]);
    assert!(!host.path(&format!("state/deploy/{}", first.id)).exists());
    assert!(!host.path(&format!("composefs/images/{}", first.id)).exists());
    assert_eq!(host.read("state/os/default/var/lib/mine"), "data");
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert!(report.problems.is_empty() && report.checked > 0, "{report:?}");
    host.backend().boot_artifacts(&second.id).await.unwrap();
}

/// spec: BW-308
#[tokio::test]
async fn a_clean_up_that_cannot_read_something_deletes_nothing_of_what_is_kept() {
    let host = Host::initialized().await;
    let (first, second) = two(&host).await;
    let keep = BTreeSet::from([first.id.clone(), second.id.clone()]);
    for n in 0.. {
        let faults = Faults::fail_once(n, Fault::Read);
        let outcome = Host::open(host.context_with(faults.clone())).retain(&keep).await;
        let Some(failed) = faults.met() else {
            assert!(n > 4 && outcome.is_ok(), "{n} files and folders were read: {outcome:?}");
            return;
        };
        for id in &keep {
            host.backend().boot_artifacts(id).await.expect(&failed);
        }
        let report = host.backend().verify(&Recorder::default()).await.unwrap();
        assert!(report.problems.is_empty(), "{failed} failed: {report:?}");
    }
}

/// spec: BW-304
#[tokio::test]
async fn cleaning_up_twice_removes_nothing_the_second_time() {
    let host = Host::initialized().await;
    let (_, second) = two(&host).await;
    host.backend().retain(&only(&second)).await.unwrap();
    let before = snapshot(&host.sysroot());
    let removed = host.backend().retain(&only(&second)).await.unwrap();
    assert_eq!((removed.items.len(), removed.bytes), (0, 0));
    assert_eq!(snapshot(&host.sysroot()), before);
}

#[tokio::test]
async fn an_image_that_was_fetched_only_survives_until_the_next_clean_up() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image("v1", &version("1")), None).await;
    let image = host.image("v2", &version("2"));
    host.fetch(&image).await.unwrap();
    assert_eq!(host.backend().estimate(&image).await.unwrap().layers_missing, 0);
    host.backend().retain(&only(&first)).await.unwrap();
    assert_eq!(host.backend().estimate(&image).await.unwrap().layers_missing, 1, "the shared layers stay");
}

/// The command was killed in the middle of an upgrade, or of changing what it keeps.
///
/// spec: BW-904
#[tokio::test]
async fn origin_files_that_were_being_written_go_and_their_folders_with_them() {
    let host = Host::initialized().await;
    let kept = host.deploy(&host.image("v1", &version("1")), None).await;
    let before = snapshot(&host.sysroot());
    for root in [kept.id.as_str(), &"0".repeat(64)] {
        let folder = host.path(&format!("state/deploy/{root}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{TEMPORARY_PREFIX}{root}.origin")), "half").unwrap();
    }
    host.backend().retain(&only(&kept)).await.unwrap();
    assert_eq!(snapshot(&host.sysroot()), before);
}

/// spec: BW-308
#[tokio::test]
async fn keeping_nothing_is_refused_and_deletes_nothing() {
    let host = Host::initialized().await;
    two(&host).await;
    let before = snapshot(&host.sysroot());
    let error = host.backend().retain(&BTreeSet::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(snapshot(&host.sysroot()), before);
}

/// spec: BW-309
#[tokio::test]
async fn images_that_others_named_are_left_alone() {
    let host = Host::initialized().await;
    let (first, second) = two(&host).await;
    let refs = host.path("composefs/streams/refs/oci");
    std::os::unix::fs::symlink(
        std::fs::read_link(refs.join(format!("bootwright%2Fdeployment%2F{}", first.id))).unwrap(),
        refs.join("somebody-elses"),
    )
    .unwrap();
    host.backend().retain(&only(&second)).await.unwrap();
    assert_eq!(host.backend().estimate(&host.image("v1", &version("1"))).await.unwrap().layers_missing, 0);
}

/// spec: BW-004
#[tokio::test]
async fn a_clean_up_that_stops_anywhere_leaves_what_is_kept_whole_and_can_be_finished() {
    for n in 0.. {
        let host = Host::initialized().await;
        let (first, second) = two(&host).await;
        let faults = Faults::stop_before(n);
        let stopped = Host::open(host.context_with(faults.clone())).retain(&only(&second)).await;
        if stopped.is_ok() {
            assert!(n >= 4, "only {n} mutations were counted");
            break;
        }
        // What the repository still lists must be whole: deploy the other one again.
        host.backend().boot_artifacts(&second.id).await.unwrap();
        host.deploy(&host.image("v1", &version("1")), None).await;
        let report = host.backend().verify(&Recorder::default()).await.unwrap();
        assert!(report.problems.is_empty(), "stopped before mutation {n}: {report:?}");
        host.backend().retain(&only(&second)).await.unwrap();
        assert!(!host.path(&format!("state/deploy/{}", first.id)).exists(), "stopped before mutation {n}");
    }
}
