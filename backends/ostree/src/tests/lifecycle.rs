//! From an image to a deployment, and to the next. Needs root.

use bootwright_core::{
    error::ErrorKind,
    model::{KernelArtifacts, KernelCmdline},
    tree::TreeReaderExt as _,
};

use super::support::{Host, spec, version};

/// spec: BW-310
#[tokio::test]
async fn an_image_becomes_a_deployment_with_etc_var_and_root_arguments() {
    let host = Host::initialized().await;
    let prepared = host.prepare(&host.image(&version("1")), None).await;
    assert!(!prepared.finalized && !prepared.verified);
    let predicted = host.cmdline(&prepared.id).await;
    assert_eq!(host.boots(&predicted), None, "nothing is checked out before the finalisation");

    host.backend().finalize(&prepared.id).await.unwrap();
    assert_eq!(host.cmdline(&prepared.id).await, predicted, "the prediction holds");
    assert_eq!(host.boots_version(&predicted).as_deref(), Some("1"));
    let etc = host.etc(&prepared.id).await;
    assert_eq!(std::fs::read_to_string(etc.join("app/default.conf")).unwrap(), "version=1\n");
    assert!(!etc.join(".updated").exists());
    assert_eq!(host.read("ostree/deploy/default/var/lib/seeded"), "from the image\n");
    assert!(host.backend().deployments().await.unwrap()[0].finalized);
}

#[tokio::test]
async fn the_kernel_is_found_and_can_be_read() {
    let host = Host::initialized().await;
    let prepared = host.prepare(&host.image(&version("1")), None).await;
    let artifacts = host.backend().boot_artifacts(&prepared.id).await.unwrap();
    let KernelArtifacts::Split { kver, kernel, initrds, .. } = &artifacts.kernel else {
        panic!("{artifacts:?}")
    };
    assert_eq!((kver.as_str(), initrds.len()), ("6.1.0", 1));
    let mut text = String::new();
    let mut reader = host.backend().open_blob(kernel).await.unwrap();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert_eq!(text, "kernel");
}

#[tokio::test]
async fn a_tree_can_be_read_before_it_is_checked_out() {
    let host = Host::initialized().await;
    let prepared = host.prepare(&host.image(&version("1")), None).await;
    let tree = host.backend().tree(&prepared.id).await.unwrap();
    assert!(tree.read_text("usr/lib/os-release").await.unwrap().unwrap().contains("VERSION_ID=1"));
    assert_eq!(tree.read_text("etc/app/default.conf").await.unwrap().unwrap(), "version=1\n");
    assert_eq!(tree.list("usr/lib/modules").await.unwrap(), ["6.1.0"]);
    assert!(tree.open("etc/nothing").await.unwrap().is_none());
    assert!(tree.open("usr/lib/version/x").await.unwrap().is_none());
    assert!(tree.list("nothing").await.unwrap().is_empty());
}

/// spec: BW-304
#[tokio::test]
async fn preparing_and_initialising_again_change_nothing() {
    let host = Host::initialized().await;
    let image = host.image(&version("1"));
    let first = host.prepare(&image, None).await;
    host.backend().initialize().await.unwrap();
    assert_eq!(host.prepare(&image, None).await, first);
    assert_eq!(host.backend().deployments().await.unwrap(), [first]);
}

/// spec: BW-305
#[tokio::test]
async fn another_kernel_is_another_deployment() {
    let host = Host::initialized().await;
    let first = host.prepare(&host.image(&version("1")), None).await;
    let mut changed = version("1");
    changed[2].1 = b"another kernel".to_vec();
    let second = host.prepare(&host.image(&changed), Some(&first.id)).await;
    assert_ne!(first.id, second.id);
}

/// spec: BW-201, BW-202
#[tokio::test]
async fn local_changes_in_etc_survive_and_new_defaults_arrive() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let etc = host.etc(&first.id).await;
    std::fs::write(etc.join("hostname"), "mine\n").unwrap();
    std::fs::write(etc.join("added"), "mine too\n").unwrap();

    let mut files = version("2");
    files.push(("usr/etc/app/added.conf".to_owned(), b"new\n".to_vec()));
    files[5].1 = b"another default\n".to_vec();
    let second = host.prepare(&host.image(&files), Some(&first.id)).await;
    let report = host.backend().finalize(&second.id).await.unwrap();
    assert_eq!(report.conflicts, ["hostname"]);
    let merged = host.etc(&second.id).await;
    let read = |name: &str| std::fs::read_to_string(merged.join(name)).unwrap();
    assert_eq!((read("hostname"), read("added")), ("mine\n".to_owned(), "mine too\n".to_owned()));
    assert_eq!((read("app/default.conf"), read("app/added.conf")), ("version=2\n".into(), "new\n".into()));
    assert!(!merged.join(".updated").exists());
    assert_eq!(std::fs::read_to_string(etc.join("app/default.conf")).unwrap(), "version=1\n");

    // Again: the same three sources, the same result.
    std::fs::write(merged.join("stray"), "x").unwrap();
    assert_eq!(host.backend().finalize(&second.id).await.unwrap(), report);
    let merged = host.etc(&second.id).await;
    assert!(!merged.join("stray").exists());
    assert_eq!(std::fs::read_to_string(merged.join("hostname")).unwrap(), "mine\n");
}

/// spec: BW-310
#[tokio::test]
async fn var_is_seeded_once() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    std::fs::remove_file(host.path("ostree/deploy/default/var/lib/seeded")).unwrap();
    host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    assert!(!host.path("ostree/deploy/default/var/lib/seeded").exists());
}

/// spec: BW-313
#[tokio::test]
async fn the_command_line_tells_what_is_booted_in_both_slots() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let old = host.cmdline(&first.id).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    for (cmdline, id) in [
        (old, &first.id),
        (host.cmdline(&first.id).await, &first.id),
        (host.cmdline(&second.id).await, &second.id),
    ] {
        let line = KernelCmdline::parse_lossy(&format!("quiet {cmdline} rw"));
        assert_eq!(host.booted(&line).as_ref(), Some(id), "{line}");
    }
    for line in ["quiet", "ostree=junk", "ostree=/ostree/boot.1/default/ab/0"] {
        assert_eq!(host.booted(&KernelCmdline::parse_lossy(line)), None, "{line}");
    }
}

/// spec: BW-121
#[tokio::test]
async fn an_image_without_a_kernel_is_refused_with_a_hint() {
    let host = Host::initialized().await;
    let files = version("1").into_iter().filter(|(path, _)| !path.contains("modules")).collect();
    let error = host.backend().prepare(&spec(&host.image(&files), None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("no kernel in the image") && error.hint().is_some(), "{error}");
    assert!(host.backend().deployments().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_image_that_was_not_fetched_is_not_found() {
    let host = Host::initialized().await;
    let mut image = host.image(&version("1"));
    image.manifest_digest = bootwright_core::model::Digest::from_sha256([1; 32]);
    let error = host.backend().prepare(&spec(&image, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
