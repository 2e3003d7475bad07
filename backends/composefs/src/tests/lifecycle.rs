//! From an image to a deployment, and to the next. Needs root: an image has files of several owners.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use bootwright_core::{
    error::ErrorKind,
    model::{KernelArtifacts, KernelCmdline},
    tree::TreeReaderExt as _,
};

use super::{
    image::{Entry, Image, big},
    support::{Host, Recorder},
};

#[tokio::test]
async fn an_image_becomes_a_deployment_with_etc_var_and_root_arguments() {
    let host = Host::initialized().await;
    let deployment = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let root = deployment.id.as_str();

    assert_eq!(root.len(), 64, "a split kernel's deployment is named by its root");
    assert!(!deployment.verified);
    assert_eq!(host.read(&format!("{}/app/default.conf", Host::etc(&deployment.id))), "version=1\n");
    let shadow = std::fs::metadata(host.path(&format!("{}/shadow", Host::etc(&deployment.id)))).unwrap();
    assert_eq!((shadow.permissions().mode() & 0o7777, shadow.gid()), (0o640, 42));
    assert_eq!(host.read(&format!("state/deploy/{root}/var/lib/seeded")), "from the image\n");
    let link = std::fs::read_link(host.path(&format!("state/deploy/{root}/var"))).unwrap();
    assert_eq!(link.to_str(), Some("../../os/default/var"));

    let artifacts = host.backend().boot_artifacts(&deployment.id).await.unwrap();
    assert_eq!(artifacts.root_args.to_string(), format!("composefs.digest=?v1-sha256-12:{root}"));
    let KernelArtifacts::Split { kver, kernel, initrds, .. } = &artifacts.kernel else {
        panic!("{artifacts:?}")
    };
    assert_eq!((kver.as_str(), initrds.len()), ("6.1.0", 1));
    let mut bytes = Vec::new();
    let mut reader = host.backend().open_blob(kernel).await.unwrap();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    assert_eq!(bytes, big("kernel "));
}

#[tokio::test]
async fn the_image_is_there_by_the_name_that_early_boot_looks_for() {
    let host = Host::initialized().await;
    let deployment = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    assert!(host.path(&format!("composefs/images/{}", deployment.id)).is_file());
}

#[tokio::test]
async fn a_tree_can_be_read_without_mounting_it() {
    let host = Host::initialized().await;
    let deployment = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let tree = host.backend().tree(&deployment.id).await.unwrap();
    let text = tree.read_text("etc/os-release").await.unwrap().unwrap();
    assert!(text.contains("VERSION_ID=1"), "{text}");
    assert_eq!(tree.list("usr/lib/modules").await.unwrap(), ["6.1.0"]);
    assert!(tree.open("etc/nothing").await.unwrap().is_none());
}

/// spec: BW-303
#[tokio::test]
async fn fetching_twice_transfers_nothing_the_second_time() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    let estimate = host.backend().estimate(&image).await.unwrap();
    assert_eq!((estimate.layers_missing, estimate.layers), (2, 2));
    assert_eq!(estimate.download, image.layers.iter().map(|layer| layer.size).sum::<u64>());
    let first = Recorder::default();
    host.backend().fetch(&image, &first).await.unwrap();
    assert_eq!(first.transferred(), estimate.download);
    let second = Recorder::default();
    host.backend().fetch(&image, &second).await.unwrap();
    assert_eq!(second.transferred(), 0);
    assert_eq!(host.backend().estimate(&image).await.unwrap().download, 0);
}

/// spec: BW-303
#[tokio::test]
async fn a_shared_layer_is_not_transferred_again() {
    let host = Host::initialized().await;
    host.fetch(&host.image("v1", &Image::bootable("1"))).await.unwrap();
    let second = Image::bootable("1").layer(vec![Entry::File("usr/lib/new", big("new "))]);
    let image = host.image("v2", &second);
    let recorder = Recorder::default();
    host.backend().fetch(&image, &recorder).await.unwrap();
    assert_eq!(recorder.transferred(), image.layers[2].size);
}

/// spec: BW-304
#[tokio::test]
async fn preparing_again_gives_the_same_deployment() {
    let host = Host::initialized().await;
    let image = host.fetch(&host.image("v1", &Image::bootable("1"))).await.unwrap();
    let first = host.prepare(&image, None).await.unwrap();
    assert_eq!(host.prepare(&image, None).await.unwrap(), first);
    assert_eq!(host.backend().deployments().await.unwrap(), [first]);
}

/// spec: BW-305
#[tokio::test]
async fn another_kernel_is_another_deployment() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let changed = vec![Entry::File("usr/lib/modules/6.1.0/vmlinuz", big("other kernel "))];
    let second = host.deploy(&host.image("v2", &Image::bootable("1").layer(changed)), Some(&first.id)).await;
    assert_ne!(first.id, second.id);
    assert_eq!(host.backend().deployments().await.unwrap().len(), 2);
}

/// spec: BW-201, BW-202
#[tokio::test]
async fn local_changes_in_etc_survive_and_new_defaults_arrive() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let etc = Host::etc(&first.id);
    std::fs::write(host.path(&format!("{etc}/hostname")), "mine\n").unwrap();
    std::fs::write(host.path(&format!("{etc}/big.conf")), "changed here\n").unwrap();
    std::fs::remove_file(host.path(&format!("{etc}/shadow"))).unwrap();

    let image = Image::bootable("2").layer(vec![Entry::File("etc/app/added.conf", b"new\n".to_vec())]);
    let second = host.deploy(&host.image("v2", &image), Some(&first.id)).await;
    let merged = Host::etc(&second.id);
    assert_eq!(host.read(&format!("{merged}/hostname")), "mine\n");
    assert_eq!(host.read(&format!("{merged}/big.conf")), "changed here\n");
    assert_eq!(host.read(&format!("{merged}/app/default.conf")), "version=2\n");
    assert_eq!(host.read(&format!("{merged}/app/added.conf")), "new\n");
    assert!(!host.path(&format!("{merged}/shadow")).exists());
    assert_eq!(host.read(&format!("{etc}/app/default.conf")), "version=1\n", "the source is left alone");

    // Again: the same three sources, the same result.
    std::fs::write(host.path(&format!("{merged}/stray")), "x").unwrap();
    host.backend().finalize(&second.id).await.unwrap();
    assert!(!host.path(&format!("{merged}/stray")).exists());
    assert_eq!(host.read(&format!("{merged}/hostname")), "mine\n");
    assert!(!host.path(&format!("{merged}.new")).exists());
}

/// spec: BW-310
#[tokio::test]
async fn var_is_seeded_once_and_shared() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    std::fs::write(host.path("state/os/default/var/lib/mine"), "data").unwrap();
    std::fs::remove_file(host.path("state/os/default/var/lib/seeded")).unwrap();
    let second = host.deploy(&host.image("v2", &Image::bootable("2")), Some(&first.id)).await;
    assert_eq!(host.read(&format!("state/deploy/{}/var/lib/mine", second.id)), "data");
    assert!(!host.path("state/os/default/var/lib/seeded").exists());
}

/// spec: BW-313
#[tokio::test]
async fn the_command_line_tells_what_is_booted_in_both_forms() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let backend = host.backend();
    let root = first.id.as_str();
    for line in [format!("quiet composefs.digest=?v1-sha256-12:{root}"), format!("composefs={root} rw")] {
        let booted = backend.booted(&KernelCmdline::parse_lossy(&line)).await.unwrap();
        assert_eq!(booted.as_ref(), Some(&first.id), "{line}");
    }
    for line in [format!("composefs={}", "0".repeat(64)), "composefs=junk".to_owned(), "quiet".to_owned()] {
        assert_eq!(backend.booted(&KernelCmdline::parse_lossy(&line)).await.unwrap(), None, "{line}");
    }
}

/// spec: BW-121
#[tokio::test]
async fn an_image_without_a_kernel_is_refused_with_a_hint() {
    let host = Host::initialized().await;
    let pinned = host.fetch(&host.image("v1", &Image::default().base("1"))).await.unwrap();
    let error = host.prepare(&pinned, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("no kernel in the image") && error.hint().is_some(), "{error}");
    assert!(host.backend().deployments().await.unwrap().is_empty());
}

/// spec: BW-121
#[tokio::test]
async fn two_kernels_are_refused_by_name() {
    let host = Host::initialized().await;
    let more = vec![
        Entry::Folder("usr/lib/modules/6.2.0"),
        Entry::File("usr/lib/modules/6.2.0/vmlinuz", big("k")),
        Entry::File("usr/lib/modules/6.2.0/initramfs.img", big("i")),
    ];
    let pinned = host.fetch(&host.image("v1", &Image::bootable("1").layer(more))).await.unwrap();
    let error = host.prepare(&pinned, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("6.1.0") && error.message().contains("6.2.0"), "{error}");
}

/// spec: BW-006, BW-307
#[tokio::test]
async fn without_fs_verity_a_store_that_demands_it_is_refused_before_anything_is_written() {
    let host = Host::new();
    let mut context = host.context();
    context.verity = bootwright_core::registry::Verity::Required;
    // A host whose kernel has fs-verity on this file system makes a verified store instead.
    match Host::open(context).initialize().await {
        Ok(()) => assert!(host.path("composefs/meta.json").exists()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert_eq!(std::fs::read_dir(host.sysroot()).unwrap().count(), 0);
        }
    }
}
