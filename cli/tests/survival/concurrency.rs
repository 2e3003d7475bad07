//! Two commands at once. The first one is made to hold the lock by a registry that does not answer.

use std::os::unix::fs::MetadataExt as _;

use crate::{
    registry::Registry,
    support::{TinyImage, complaint},
    system::{Running, System},
};

/// A system whose upgrade waits, with the lock, for a layer.
fn upgrading(backend: &'static str) -> (System, Registry, TinyImage, Running) {
    let image = TinyImage::new();
    let registry = Registry::serve(image.folder.path());
    let system = System::install(&image, &registry.reference(), (backend, "systemd-boot"));
    registry.allow(system.home.path());
    let image = image.replace("2", &[1 << 20]);
    registry.hold(&image.layers[1]);
    let upgrade = system.start(&["upgrade"]);
    registry.wait_for_request(&image.layers[1]);
    (system, registry, image, upgrade)
}

fn a_second_upgrade_waits(backend: &'static str) {
    let (system, registry, image, first) = upgrading(backend);
    let mut second = system.start(&["upgrade"]);
    second.wait_until_it_says("waiting for another bootwright command to end");
    assert!(system.status()["staged"].is_null(), "the first has staged nothing yet");
    registry.go_on();
    for output in [first.finish(), second.finish()] {
        assert!(output.contains("Staged:"), "{output}");
    }
    let asked = registry.requested();
    for layer in &image.layers {
        assert_eq!(asked.iter().filter(|asked| *asked == layer).count(), 1, "{layer} in {asked:?}");
    }
    assert!(!system.status()["staged"].is_null());
    system.must(&["internals", "finalize"]);
    system.assert_clean();
}

/// spec: BW-115
#[test]
fn a_second_upgrade_waits_for_the_first_and_finds_its_work_done() {
    a_second_upgrade_waits("composefs");
}

/// spec: BW-115
#[cfg(feature = "ostree")]
#[test]
fn a_second_upgrade_on_ostree_waits_for_the_first_and_finds_its_work_done() {
    a_second_upgrade_waits("ostree");
}

fn looks_are_free(backend: &'static str) {
    let (system, registry, _image, first) = upgrading(backend);
    for command in [&["gc"][..], &["upgrade"], &["rollback"], &["internals", "finalize"]] {
        let busy = system.run(&[&["--patience", "0"], command].concat());
        assert_eq!(busy.status.code(), Some(1), "{command:?}");
        let text = complaint(&busy);
        assert!(text.contains("another bootwright command is changing this system"), "{command:?}: {text}");
    }
    system.status();
    system.assert_clean();
    registry.go_on();
    assert!(first.finish().contains("Staged:"));
    system.must(&["--patience", "0", "internals", "finalize"]);
    system.assert_clean();
}

/// spec: BW-115, BW-630
#[test]
fn whoever_has_no_patience_is_told_that_the_system_is_busy_and_looks_are_free() {
    looks_are_free("composefs");
}

/// spec: BW-115, BW-630
#[cfg(feature = "ostree")]
#[test]
fn whoever_has_no_patience_is_told_that_a_system_on_ostree_is_busy_and_looks_are_free() {
    looks_are_free("ostree");
}

/// spec: BW-115
#[test]
fn a_lock_on_another_system_is_none_of_our_business() {
    let (system, registry, _image, _first) = upgrading("composefs");
    let image = TinyImage::new();
    let other = System::install(&image, &image.reference(), ("composefs", "systemd-boot"));
    let inode = |system: &System| std::fs::metadata(system.path("bootwright/lock")).unwrap().ino();
    assert_eq!(
        inode(&system),
        inode(&other),
        "both disks were made alike: only the device tells the locks apart"
    );
    other.must(&["--patience", "0", "gc"]);
    registry.go_on();
}
