//! Ordinary images. Needs root: files belong to several owners.

use std::{
    collections::BTreeSet,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use bootwright_core::{error::ErrorKind, fs::Faults};

use super::{
    layout::{self, Layer},
    store::{Host, Recorder, files},
};
use crate::fetch;

/// `cap_net_raw=ep` of version 2, and a byte that ends lines in the middle (linux/capability.h).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn base() -> Layer {
    Layer::new()
        .folder("usr", 0o755)
        .folder("usr/bin", 0o755)
        .owned("usr/bin/su", b"set-id", 0o4755, 0, 0)
        .xattr("security.capability", CAPABILITY)
        .file("usr/bin/ping", b"ping")
        .file("usr/bin/tool", &vec![7; 600_000])
        .hard_link("usr/bin/tool-2", "usr/bin/tool")
        .symlink("bin", "usr/bin")
        .folder("etc", 0o755)
        .owned("etc/shadow", b"root:*:", 0o640, 0, 42)
        .xattr("user.note", b"kept")
        .folder("opt/data", 0o2775)
        .file("opt/data/old", b"old")
        .file("opt/data/older", b"older")
        .file("opt/gone", b"gone")
        .file("var/lib/seed", b"seed")
        .device("dev/null")
        .fifo("run/pipe")
}

fn top() -> Layer {
    Layer::new()
        .folder("opt", 0o711)
        .file("opt/data/new", b"new")
        .file("opt/data/.wh..wh..opq", b"")
        .file("opt/.wh.gone", b"")
        .file("etc/added", b"added")
        .hard_link("usr/bin/tool-3", "/usr/bin/tool")
}

/// spec: BW-325
#[tokio::test]
async fn layers_are_merged_and_nothing_of_their_files_is_lost() {
    let host = Host::new();
    let image = host.image("v1", [base(), top()]);
    let tree = host.fetched(&image).await;
    let read = |path: &str| std::fs::read(tree.join(path)).unwrap();
    let stat = |path: &str| std::fs::symlink_metadata(tree.join(path)).unwrap();
    assert_eq!(stat("usr/bin/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!((stat("usr/etc/shadow").mode() & 0o7777, stat("usr/etc/shadow").gid()), (0o640, 42));
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(tree.join("usr/bin/ping"), "security.capability", &mut value).unwrap();
    assert_eq!(&value[..length], CAPABILITY);
    let length = rustix::fs::getxattr(tree.join("opt/data"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"kept");
    assert!(read("usr/bin/tool-2").iter().all(|byte| *byte == 7) && read("usr/bin/tool-2").len() == 600_000);
    for link in ["usr/bin/tool-2", "usr/bin/tool-3"] {
        assert_eq!(stat("usr/bin/tool").ino(), stat(link).ino(), "{link}");
    }
    assert_eq!(std::fs::read_link(tree.join("bin")).unwrap().to_str(), Some("usr/bin"));
    assert_eq!(stat("opt").mode() & 0o7777, 0o711);
    assert_eq!(stat("opt/data").mode() & 0o7777, 0o2775);
    let opt: Vec<_> = files(&tree.join("opt")).into_iter().collect();
    assert_eq!(opt, ["data", "data/new"]);
    assert_eq!((read("usr/etc/added"), read("var/lib/seed")), (b"added".to_vec(), b"seed".to_vec()));
    assert!(!tree.join("etc").exists() && !tree.join("dev/null").exists() && !tree.join("run/pipe").exists());
    assert_eq!(std::fs::read_link(tree.join("ostree")).unwrap().to_str(), Some("sysroot/ostree"));
    host.ostree(&["fsck", "--quiet"]);
    let shown = host.ostree(&[
        "show",
        &host.commit(&image).unwrap(),
        "--print-metadata-key=bootwright.manifest-digest",
    ]);
    assert!(shown.contains(image.manifest_digest.as_str()), "{shown}");
    let version = host.ostree(&["show", &host.commit(&image).unwrap(), "--print-metadata-key=version"]);
    assert!(version.contains("v1"), "{version}");
}

/// spec: BW-303
#[tokio::test]
async fn a_layer_that_two_images_share_is_imported_once() {
    let host = Host::new();
    let first = host.image("v1", [base(), top()]);
    let second = host.image("v2", [base(), Layer::new().file("usr/v2", b"2")]);
    host.fetch(&first).await.unwrap();
    let estimate = fetch::estimate(&host.store(), &second).unwrap();
    assert_eq!((estimate.layers_missing, estimate.layers), (1, 2));
    let recorder = Recorder::default();
    fetch::fetch(&host.store(), &second, &recorder).await.unwrap();
    assert_eq!(recorder.layers(), (1, 1));
    let again = Recorder::default();
    fetch::fetch(&host.store(), &second, &again).await.unwrap();
    assert_eq!(again.layers(), (0, 2));
}

#[tokio::test]
async fn an_image_gives_the_same_commit_in_every_store() {
    let (here, there) = (Host::new(), Host::new());
    let image = here.image("v1", [base(), top()]);
    here.fetch(&image).await.unwrap();
    there.fetch(&image).await.unwrap();
    assert!(here.commit(&image).is_some());
    assert_eq!(here.commit(&image), there.commit(&image));
}

/// spec: BW-303
#[tokio::test]
async fn a_fetch_that_stops_anywhere_names_nothing_half_and_is_resumed() {
    let host = Host::new();
    let image = host.image("v1", [base(), top()]);
    let counting = Faults::none();
    fetch::fetch(&Host::new().store_with(counting.clone()), &image, &Recorder::default()).await.unwrap();
    for point in 0..counting.count().max(1) {
        let host = Host::new();
        let cut = host.store_with(Faults::stop_before(point));
        let stopped = fetch::fetch(&cut, &image, &Recorder::default()).await;
        assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Interrupted, "at {point}");
        assert!(host.commit(&image).is_none(), "at {point}");
        host.ostree(&["fsck", "--quiet"]);
        let named = host.refs().len();
        let recorder = Recorder::default();
        fetch::fetch(&host.store(), &image, &recorder).await.unwrap();
        assert_eq!(recorder.layers().1, named, "layers that arrived before point {point} are used");
        host.ostree(&["fsck", "--quiet"]);
    }
}

/// spec: BW-301
#[tokio::test]
async fn bytes_that_are_not_what_their_digest_says_leave_no_name() {
    let host = Host::new();
    let image = host.image("v1", [base(), top()]);
    let blob = layout::blob(&host.images("v1"), &image.layers[1].digest);
    let mut bytes = std::fs::read(&blob).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    assert_eq!(host.fetch(&image).await.unwrap_err().kind(), ErrorKind::Integrity);
    assert!(host.commit(&image).is_none());
    assert_eq!(host.refs().len(), 1, "only the lower layer has a name");
}

/// spec: BW-308
#[tokio::test]
async fn what_no_kept_image_needs_loses_its_name() {
    let host = Host::new();
    let first = host.image("v1", [base(), top()]);
    let second = host.image("v2", [base(), Layer::new().file("usr/v2", b"2")]);
    host.fetch(&first).await.unwrap();
    host.fetch(&second).await.unwrap();
    assert_eq!(host.refs().len(), 5);
    let keep = BTreeSet::from([second.manifest_digest.clone()]);
    fetch::retain(&host.store().open().unwrap(), &keep).unwrap();
    assert_eq!(host.refs().len(), 3);
    assert!(host.commit(&first).is_none());
    let before = host.objects().len();
    host.ostree(&["prune", "--refs-only"]);
    assert!(host.objects().len() < before);
    host.ostree(&["fsck", "--quiet"]);
    let tree = host.checkout(&second);
    assert_eq!(std::fs::read(tree.join("usr/v2")).unwrap(), b"2");
    let recorder = Recorder::default();
    fetch::fetch(&host.store(), &first, &recorder).await.unwrap();
    assert_eq!(recorder.layers(), (1, 1));
    fetch::retain(&host.store().open().unwrap(), &BTreeSet::new()).unwrap();
    assert!(host.refs().is_empty());
}

#[tokio::test]
async fn an_etc_above_another_wins_file_by_file() {
    let host = Host::new();
    let lower = Layer::new().file("usr/etc/a", b"lower").file("usr/etc/b", b"lower");
    let image = host.image("v1", [lower, Layer::new().file("etc/b", b"upper")]);
    let tree = host.fetched(&image).await;
    assert_eq!(std::fs::read(tree.join("usr/etc/a")).unwrap(), b"lower");
    assert_eq!(std::fs::read(tree.join("usr/etc/b")).unwrap(), b"upper");
}

#[tokio::test]
async fn a_folder_that_replaces_a_link_has_only_its_own_content() {
    let host = Host::new();
    let lower = Layer::new()
        .file("usr/lib/x", b"x")
        .symlink("lib", "usr/lib")
        .folder("opt", 0o755)
        .file("opt/a", b"a");
    let upper = Layer::new()
        .file("lib/.wh..wh..opq", b"")
        .folder("lib", 0o755)
        .file("lib/y", b"y")
        .file("opt", b"now a file");
    let tree = host.fetched(&host.image("v1", [lower, upper])).await;
    assert_eq!(files(&tree.join("lib")).into_iter().collect::<Vec<_>>(), ["y"]);
    assert!(tree.join("usr/lib/x").exists());
    assert_eq!(std::fs::read(tree.join("opt")).unwrap(), b"now a file");
}

/// A fetch is awaited by callers that move between threads.
#[test]
fn a_fetch_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let host = Host::new();
    let (store, image) = (host.store(), host.image("v1", [base()]));
    check(fetch::fetch(&store, &image, &Recorder::default()));
}
