//! Fetching from a registry. Needs root: files belong to several owners.

use bootwright_core::{
    error::ErrorKind,
    model::{ImageSummary, NoProgress},
};

use super::{
    docker_registry::with_registry,
    fetch_encapsulated::{is_as_it_was_committed, source_image},
    layout::Layer,
    store::{Host, Recorder},
};
use crate::fetch;

fn base() -> Layer {
    Layer::new().owned("usr/bin/su", b"su", 0o4755, 0, 0).file("usr/gone", b"gone")
}

fn top(text: &[u8]) -> Layer {
    Layer::new().file("usr/.wh.gone", b"").file("etc/conf", &text.repeat(100_000))
}

/// Checksums of the root folder.
fn root_of(host: &Host, image: &ImageSummary) -> String {
    host.ostree(&["ls", "-d", "-C", &host.commit(image).unwrap(), "/"])
}

/// Layers that were transferred, and layers that were there.
async fn layers_of(host: &Host, image: &ImageSummary) -> (usize, usize) {
    let events = Recorder::default();
    fetch::fetch(&host.store(), image, &events).await.unwrap();
    events.layers()
}

/// spec: BW-303
#[test]
fn an_image_comes_by_its_digest_as_from_a_layout_and_each_layer_once() {
    let name = "tests::fetch_registry::an_image_comes_by_its_digest_as_from_a_layout_and_each_layer_once";
    with_registry(name, async |registry| {
        let (here, there) = (Host::new(), Host::new());
        let local = here.image("v1", [base(), top(b"1")]);
        let first = registry.push(&local, "os:latest");
        // The tag moves on, but what was inspected is what is fetched.
        let second = registry.push(&here.image("v2", [base(), top(b"2")]), "os:latest");
        assert_eq!(layers_of(&there, &first).await, (2, 0));
        here.fetch(&local).await.unwrap();
        assert_eq!(root_of(&there, &first), root_of(&here, &local));
        assert_eq!(layers_of(&there, &first).await, (0, 2), "the same image once more");
        assert_eq!(layers_of(&there, &second).await, (1, 1), "the image that shares a layer with it");
        there.ostree(&["fsck", "--quiet"]);
    });
}

/// spec: BW-301, BW-303
#[test]
fn what_arrived_before_a_transfer_stopped_is_kept_and_what_is_damaged_is_refused() {
    let name = "tests::fetch_registry::what_arrived_before_a_transfer_stopped_is_kept_and_what_is_damaged_is_refused";
    with_registry(name, async |registry| {
        let host = Host::new();
        let image = registry.push(&host.image("v1", [base(), top(b"1")]), "os:1");
        let blob = registry.blob(image.layers[1].digest.hex());
        let whole = std::fs::read(&blob).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x40;
        let half = whole[..whole.len() / 2].to_vec();
        for (bytes, kind) in [(half, ErrorKind::Interrupted), (damaged, ErrorKind::Integrity)] {
            std::fs::write(&blob, bytes).unwrap();
            let error = fetch::fetch(&host.store(), &image, &NoProgress).await.unwrap_err();
            assert!(error.kind() == kind && error.hint().is_some(), "{error:?}");
            assert!(host.commit(&image).is_none());
        }
        std::fs::write(&blob, &whole).unwrap();
        assert_eq!(layers_of(&host, &image).await, (1, 1));
        host.ostree(&["fsck", "--quiet"]);
    });
}

/// spec: BW-303
#[test]
fn an_encapsulated_commit_comes_from_a_registry_as_it_was_committed() {
    let name = "tests::fetch_registry::an_encapsulated_commit_comes_from_a_registry_as_it_was_committed";
    with_registry(name, async |registry| {
        let (from, to) = (Host::new(), Host::new());
        let local = source_image(&from).await;
        let image = registry.push(&local, "os:encapsulated");
        let layers = image.layers.len();
        assert_eq!(layers_of(&to, &image).await, (layers, 0));
        is_as_it_was_committed(&from, &to, &image);
        assert_eq!(layers_of(&to, &image).await, (0, layers));
    });
}
