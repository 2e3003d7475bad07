//! The same image by different transports. Needs root, and skopeo.

use std::process::Command;

use bootwright_core::{
    error::ErrorKind,
    model::{ImageReference, ImageSummary},
    transport,
};

use super::{layout::Layer, store::Host};

fn image(host: &Host) -> ImageSummary {
    let lower = Layer::new().owned("usr/bin/su", b"su", 0o4755, 0, 0).file("usr/gone", b"gone");
    host.image("v1", [lower, Layer::new().file("usr/.wh.gone", b"").file("etc/conf", &b"c".repeat(100_000))])
}

fn copy(image: &ImageSummary, to: &str) {
    let copied =
        Command::new("skopeo").args(["copy", "--quiet", &image.reference.to_string(), to]).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

/// Checksums of the root folder.
async fn root_of(host: &Host, reference: &str) -> String {
    let reference: ImageReference = reference.parse().unwrap();
    let image = transport::inspect(&reference, Some("amd64")).await.unwrap();
    host.fetch(&image).await.unwrap();
    host.ostree(&["ls", "-d", "-C", &host.commit(&image).unwrap(), "/"])
}

#[tokio::test]
async fn every_local_transport_gives_the_same_tree() {
    let host = Host::new();
    let image = image(&host);
    let folder = host.folder.path();
    let archive = format!("oci-archive:{}", folder.join("image.tar").display());
    // The driver that needs nothing from the kernel, in a store of its own (containers-storage(5)).
    let (graph, run) = (folder.join("graph"), folder.join("run"));
    let stored = format!("containers-storage:[vfs@{}+{}]localhost/os:1", graph.display(), run.display());
    copy(&image, &archive);
    copy(&image, &stored);
    let expected = root_of(&host, &image.reference.to_string()).await;
    for reference in [&archive, &stored] {
        let other = Host::new();
        assert_eq!(root_of(&other, reference).await, expected, "{reference}");
        other.ostree(&["fsck", "--quiet"]);
    }
}

/// spec: BW-507
#[tokio::test]
async fn a_registry_that_does_not_answer_is_an_interruption() {
    let host = Host::new();
    let reference = "docker://127.0.0.1:1/os:1".parse().unwrap();
    let image = ImageSummary { reference, ..image(&host) };
    let error = host.fetch(&image).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Interrupted && error.hint().is_some(), "{error:?}");
    assert!(host.refs().is_empty());
}
