//! A transfer that stops in the middle, and is carried on.

use crate::{
    registry::Registry,
    support::{TinyImage, complaint},
    system::System,
};

/// spec: BW-303, BW-632
#[test]
fn an_upgrade_whose_download_was_cut_fetches_only_what_it_lacks() {
    let image = TinyImage::new();
    let registry = Registry::serve(image.folder.path());
    let system = System::install(&image, &registry.reference(), "systemd-boot");
    registry.allow(system.home.path());
    let image = image.replace("2", &[6 << 20, 1 << 20, 1 << 20]);
    let cut = &image.layers[1];
    registry.cut(cut);
    let stopped = system.run(&["upgrade"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(complaint(&stopped).contains("run the command again"), "{}", complaint(&stopped));
    let first = registry.requested();
    for layer in &image.layers {
        assert!(first.contains(layer), "{layer} was not tried: {first:?}");
    }
    assert!(system.status()["staged"].is_null());
    system.assert_clean();

    registry.go_on();
    system.must(&["upgrade"]);
    let second: Vec<_> =
        registry.requested().into_iter().filter(|blob| image.layers.contains(blob)).collect();
    assert_eq!(second, [cut.as_str()], "only the layer that was cut is fetched again");
    system.must(&["internals", "finalize"]);
    system.assert_clean();
}
