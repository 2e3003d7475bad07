//! Power cuts at every counted mutation. Needs root.

use std::collections::BTreeSet;

use bootwright_core::{
    fs::Faults,
    model::{Deployment, KernelCmdline, NoProgress},
};

use rustix::fs::IFlags;

use super::support::{Host, only, set_flag, spec, version};

/// A machine that runs version 1, which is published.
async fn running_one() -> (Host, Deployment, KernelCmdline) {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let published = host.cmdline(&first.id).await;
    let hostname = host.etc(&first.id).await.join("hostname");
    std::fs::write(&hostname, "mine\n").unwrap();
    // It goes with its deployment, and so does what is left of an unfinished copy of it.
    set_flag(&hostname, IFlags::IMMUTABLE, true);
    (host, first, published)
}

/// spec: BW-002, BW-004
#[tokio::test]
async fn an_upgrade_that_stops_anywhere_leaves_what_boots_and_can_be_finished() {
    for n in 0.. {
        let (host, first, published) = running_one().await;
        let image = host.image(&version("2"));
        let faults = Faults::stop_before(n);
        let backend = Host::open(host.context_with(faults.clone()));
        let done = async {
            let second = backend.prepare(&spec(&image, Some(&first.id))).await?;
            backend.finalize(&second.id).await
        };
        let stopped = done.await.is_err();
        let label = format!("stopped before mutation {n}");
        assert_eq!(host.boots_version(&published).as_deref(), Some("1"), "{label}");
        let etc = host.boots(&published).unwrap().join("etc");
        assert_eq!(std::fs::read_to_string(etc.join("hostname")).unwrap(), "mine\n", "{label}");
        assert_eq!(host.booted(&published).as_ref(), Some(&first.id), "{label}");

        let second = host.finalize(&image, Some(&first.id)).await;
        assert_eq!(host.boots_version(&published).as_deref(), Some("1"), "{label}");
        let new = host.cmdline(&second.id).await;
        assert_eq!(host.boots_version(&new).as_deref(), Some("2"), "{label}");
        let etc = host.etc(&second.id).await;
        assert_eq!(std::fs::read_to_string(etc.join("hostname")).unwrap(), "mine\n", "{label}");
        assert_eq!(std::fs::read_to_string(etc.join("app/default.conf")).unwrap(), "version=2\n", "{label}");
        host.backend().published().await.unwrap();
        host.backend().retain(&only(&second)).await.unwrap();
        assert_eq!(host.boots_version(&new).as_deref(), Some("2"), "{label}");
        if !stopped {
            assert!(n >= 8, "only {n} mutations were counted");
            break;
        }
    }
}

/// A list was written and never published; the next finalisation stops anywhere.
///
/// spec: BW-002, BW-004
#[tokio::test]
async fn turning_back_can_stop_anywhere() {
    for n in 0.. {
        let (host, first, published) = running_one().await;
        host.finalize(&host.image(&version("2")), Some(&first.id)).await;
        let third = host.prepare(&host.image(&version("3")), Some(&first.id)).await;
        let stopped =
            Host::open(host.context_with(Faults::stop_before(n))).finalize(&third.id).await.is_err();
        let label = format!("stopped before mutation {n}");
        assert_eq!(host.boots_version(&published).as_deref(), Some("1"), "{label}");
        host.backend().finalize(&third.id).await.unwrap();
        assert_eq!(host.boots_version(&published).as_deref(), Some("1"), "{label}");
        assert_eq!(host.boots_version(&host.cmdline(&third.id).await).as_deref(), Some("3"), "{label}");
        if !stopped {
            assert!(n >= 6, "only {n} mutations were counted");
            break;
        }
    }
}

/// spec: BW-004
#[tokio::test]
async fn a_clean_up_that_stops_anywhere_leaves_what_is_kept_whole_and_can_be_finished() {
    for n in 0.. {
        let (host, first, _) = running_one().await;
        let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
        let published = host.cmdline(&second.id).await;
        let stopped =
            Host::open(host.context_with(Faults::stop_before(n))).retain(&only(&second)).await.is_err();
        let label = format!("stopped before mutation {n}");
        assert_eq!(host.boots_version(&published).as_deref(), Some("2"), "{label}");
        let report = host.backend().verify(&NoProgress).await.unwrap();
        assert!(report.problems.is_empty(), "{label}: {report:?}");
        host.backend().retain(&only(&second)).await.unwrap();
        assert_eq!(host.ids().await, BTreeSet::from([second.id.clone()]), "{label}");
        assert_eq!(host.boots_version(&published).as_deref(), Some("2"), "{label}");
        assert!(!host.path(&format!("ostree/deploy/default/deploy/{}.0", first.id)).exists(), "{label}");
        if !stopped {
            assert!(n >= 5, "only {n} mutations were counted");
            break;
        }
    }
}
