//! A transfer that stops in the middle, and is carried on.

use crate::{
    registry::Registry,
    support::{TinyImage, complaint},
    system::System,
};

/// By a backend that fetches layers one after the other, those behind the cut have not been asked for.
fn is_carried_on(backend: &'static str) {
    let image = TinyImage::new();
    let registry = Registry::serve(image.folder.path());
    let system = System::install(&image, &registry.reference(), (backend, "systemd-boot"));
    registry.allow(system.home.path());
    let image = image.replace("2", &[6 << 20, 1 << 20, 1 << 20]);
    let cut = &image.layers[2];
    registry.cut(cut);
    let stopped = system.run(&["upgrade"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(complaint(&stopped).contains("run the command again"), "{}", complaint(&stopped));
    let first = registry.requested();
    let whole: Vec<_> = image.layers.iter().filter(|layer| first.contains(layer) && *layer != cut).collect();
    assert!(first.contains(cut) && whole.len() > 1, "a layer was cut, and others were not: {first:?}");
    assert!(system.status()["staged"].is_null());
    system.assert_clean();

    registry.go_on();
    system.must(&["upgrade"]);
    let second: Vec<_> =
        registry.requested().into_iter().filter(|blob| image.layers.contains(blob)).collect();
    let lacking: Vec<_> = image.layers.iter().filter(|layer| !whole.contains(layer)).cloned().collect();
    assert_eq!(second, lacking, "what was whole is not fetched again");
    assert_eq!(second[0], *cut);
    system.must(&["internals", "finalize"]);
    system.assert_clean();
}

/// spec: BW-303, BW-632
#[test]
fn an_upgrade_whose_download_was_cut_fetches_only_what_it_lacks() {
    is_carried_on("composefs");
}

/// spec: BW-303, BW-632
#[cfg(feature = "ostree")]
#[test]
fn an_upgrade_on_ostree_whose_download_was_cut_fetches_only_what_it_lacks() {
    is_carried_on("ostree");
}
