//! Fetching from a registry. Needs root: an image has files of several owners.

use std::process::Command;

use bootwright_core::{error::ErrorKind, model::ImageSummary};

use super::{
    docker_registry::with_registry,
    image::{Entry, Image, big},
    support::{Host, Recorder},
};

/// spec: BW-303
#[test]
fn an_image_is_fetched_by_digest_and_only_once() {
    with_registry("tests::registry::an_image_is_fetched_by_digest_and_only_once", async |registry| {
        let host = Host::initialized().await;
        let first = registry.push(&host.image("v1", &Image::bootable("1")), "os:latest");
        // The tag moves on, but what was inspected is what is fetched.
        registry.push(&host.image("v2", &Image::bootable("2")), "os:latest");
        let deployment = host.deploy(&first, None).await;
        assert_eq!(host.read(&format!("{}/app/default.conf", Host::etc(&deployment.id))), "version=1\n");
        let again = Recorder::default();
        host.backend().fetch(&first, &again).await.unwrap();
        assert_eq!(again.transferred(), 0);
    });
}

#[test]
fn a_fetch_from_a_registry_and_from_a_layout_give_the_same_root() {
    with_registry(
        "tests::registry::a_fetch_from_a_registry_and_from_a_layout_give_the_same_root",
        async |registry| {
            let (here, there) = (Host::initialized().await, Host::initialized().await);
            let local = here.image("v1", &Image::bootable("1"));
            let remote = registry.push(&local, "os:1");
            assert_eq!(here.deploy(&local, None).await.id, there.deploy(&remote, None).await.id);
        },
    );
}

/// spec: BW-303
#[test]
fn what_arrived_before_a_transfer_stopped_is_kept() {
    with_registry("tests::registry::what_arrived_before_a_transfer_stopped_is_kept", async |registry| {
        let host = Host::initialized().await;
        let image = Image::bootable("1").layer(vec![Entry::File("usr/more", big("more"))]);
        let image = registry.push(&host.image("v1", &image), "os:1");
        let blob = registry.blob(image.layers[2].digest.hex());
        let whole = std::fs::read(&blob).unwrap();
        std::fs::write(&blob, &whole[..whole.len() / 2]).unwrap();
        let error = host.fetch(&image).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Interrupted && error.hint().is_some(), "{error:?}");
        assert!(host.backend().deployments().await.unwrap().is_empty());

        std::fs::write(&blob, &whole).unwrap();
        let before = host.backend().estimate(&image).await.unwrap();
        assert!(before.layers_missing < 3, "{before:?}");
        host.deploy(&image, None).await;
    });
}

/// spec: BW-301
#[test]
fn a_damaged_layer_in_a_registry_is_an_integrity_error() {
    with_registry("tests::registry::a_damaged_layer_in_a_registry_is_an_integrity_error", async |registry| {
        let host = Host::initialized().await;
        let image = registry.push(&host.image("v1", &Image::bootable("1")), "os:1");
        let blob = registry.blob(image.layers[0].digest.hex());
        let mut bytes = std::fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&blob, bytes).unwrap();
        let error = host.fetch(&image).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Integrity && error.hint().is_some(), "{error:?}");
        assert!(host.backend().deployments().await.unwrap().is_empty());
    });
}

/// spec: BW-507
#[test]
fn a_registry_that_does_not_answer_or_lacks_the_image_is_told_apart() {
    with_registry(
        "tests::registry::a_registry_that_does_not_answer_or_lacks_the_image_is_told_apart",
        async |registry| {
            let host = Host::initialized().await;
            let image = host.image("v1", &Image::bootable("1"));
            let port = registry.port;
            let named = |name: &str| ImageSummary {
                reference: format!("docker://127.0.0.1:{port}/{name}").parse().unwrap(),
                ..image.clone()
            };
            assert_eq!(host.fetch(&named("nothing:1")).await.unwrap_err().kind(), ErrorKind::NotFound);
            drop(registry);
            assert_eq!(host.fetch(&named("os:1")).await.unwrap_err().kind(), ErrorKind::Interrupted);
        },
    );
}

#[tokio::test]
async fn an_image_is_read_from_the_local_store_of_podman() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    let folder = tempfile::tempdir().unwrap();
    let (graph, run) = (folder.path().join("graph"), folder.path().join("run"));
    // The driver that needs nothing from the kernel, in a store of its own (containers-storage(5)).
    let name = format!("containers-storage:[vfs@{}+{}]localhost/os:1", graph.display(), run.display());
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", &image.reference.to_string(), &name])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let raw = Command::new("skopeo").args(["inspect", "--raw", &name]).output().unwrap();
    assert!(raw.status.success());
    let manifest_digest = bootwright_core::model::Digest::of(&raw.stdout);
    let stored = ImageSummary { reference: name.parse().unwrap(), manifest_digest, ..image.clone() };
    let deployment = host.deploy(&stored, None).await;
    assert_eq!(host.read(&format!("{}/app/default.conf", Host::etc(&deployment.id))), "version=1\n");
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
}
