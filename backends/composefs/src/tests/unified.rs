//! Images with a UKI. Needs root: an image has files of several owners.

use bootwright_core::{
    context::Sealing,
    error::ErrorKind,
    model::{Deployment, ImageSummary, KernelArtifacts},
    registry::Verity,
    uki::synthetic,
};

use super::{
    image::{Entry, Image, big},
    support::Host,
};

/// A UKI as far as anybody reads it here.
fn uki(cmdline: &str, kernel: &str) -> Vec<u8> {
    synthetic::image(&[
        (".linux", &big(kernel)),
        (".initrd", &big("initrd ")),
        (".cmdline", cmdline.as_bytes()),
        (".uname", b"6.1.0"),
    ])
}

/// The root digest of an image, found by deploying it elsewhere.
async fn root_of(image: &Image) -> String {
    let host = Host::initialized().await;
    host.deploy(&host.image("probe", image), None).await.id.to_string()
}

fn with_uki(image: Image, name: &'static str, cmdline: &str, kernel: &str) -> Image {
    image.layer(vec![
        Entry::Folder("boot/EFI"),
        Entry::Folder("boot/EFI/Linux"),
        Entry::File(name, uki(cmdline, kernel)),
    ])
}

const PATH: &str = "boot/EFI/Linux/6.1.0.efi";

async fn sealed(host: &Host, name: &str, kernel: &str, merge_from: Option<&Deployment>) -> Deployment {
    let root = root_of(&Image::bootable("1")).await;
    let cmdline = format!("quiet composefs.digest=?v1-sha256-12:{root}");
    let image = with_uki(Image::bootable("1"), PATH, &cmdline, kernel);
    host.deploy(&host.image(name, &image), merge_from.map(|d| &d.id)).await
}

#[tokio::test]
async fn a_sealed_uki_comes_before_the_split_kernel_and_does_not_change_the_root() {
    let host = Host::initialized().await;
    let deployment = sealed(&host, "v1", "kernel ", None).await;
    let (root, digest) = deployment.id.as_str().split_once('-').unwrap();
    assert_eq!((root, digest.len()), (root_of(&Image::bootable("1")).await.as_str(), 12));
    let artifacts = host.backend().boot_artifacts(&deployment.id).await.unwrap();
    let KernelArtifacts::Unified { kver, uki, embedded, .. } = &artifacts.kernel else {
        panic!("{artifacts:?}")
    };
    assert_eq!(kver.as_deref(), Some("6.1.0"));
    assert!(embedded.contains_all(&artifacts.root_args) && !artifacts.root_args.is_empty());
    assert_eq!(uki.sha256.short(), digest);
}

/// spec: BW-305
#[tokio::test]
async fn two_ukis_of_one_root_are_two_deployments_that_share_etc() {
    let host = Host::initialized().await;
    let first = sealed(&host, "v1", "kernel ", None).await;
    std::fs::write(host.path(&format!("{}/mine", Host::etc(&first.id))), "x").unwrap();
    let second = sealed(&host, "v2", "another kernel ", Some(&first)).await;
    assert_ne!(first.id, second.id);
    assert_eq!(Host::etc(&first.id), Host::etc(&second.id));
    assert_eq!(host.read(&format!("{}/mine", Host::etc(&second.id))), "x");
    host.backend().retain(&[second.id.clone()].into()).await.unwrap();
    assert_eq!(host.read(&format!("{}/mine", Host::etc(&second.id))), "x");
    host.backend().boot_artifacts(&second.id).await.unwrap();
}

async fn refused(cmdline: &str, kind: ErrorKind) {
    let host = Host::initialized().await;
    let image: ImageSummary = host.image("v1", &with_uki(Image::bootable("1"), PATH, cmdline, "k"));
    let pinned = host.fetch(&image).await.unwrap();
    let error = host.prepare(&pinned, None).await.unwrap_err();
    assert!(error.kind() == kind && error.hint().is_some(), "{cmdline}: {error:?}");
    assert!(host.backend().deployments().await.unwrap().is_empty());
}

/// spec: BW-306
#[tokio::test]
async fn a_uki_that_names_another_root_or_none_is_an_integrity_error() {
    let root = root_of(&Image::bootable("1")).await;
    let other = "0".repeat(64);
    refused(&format!("composefs.digest=?v1-sha256-12:{other}"), ErrorKind::Integrity).await;
    refused(&format!("composefs=?{other}"), ErrorKind::Integrity).await;
    refused("quiet", ErrorKind::Integrity).await;
    refused("composefs=?junk", ErrorKind::Integrity).await;
    // The right digest, but as if it were an image of the other format.
    refused(&format!("composefs=?{root}"), ErrorKind::Integrity).await;
    refused(&format!("composefs.digest=?v1-sha256-12:{root} composefs=?{other}"), ErrorKind::Integrity).await;
}

#[tokio::test]
async fn a_uki_sealed_with_another_hash_is_named_as_such() {
    refused(&format!("composefs=?{}", "a".repeat(128)), ErrorKind::Unsupported).await;
}

/// spec: BW-307
#[tokio::test]
async fn a_uki_that_demands_more_than_the_store_can_give_is_unsupported() {
    let root = root_of(&Image::bootable("1")).await;
    refused(&format!("composefs.digest=v1-sha256-12:{root}"), ErrorKind::Unsupported).await;
}

#[tokio::test]
async fn a_uki_for_the_other_erofs_format_is_found_as_well() {
    let host = Host::initialized().await;
    // An error names what was expected, but not what would be right: compute it as a sealing tool does.
    let image = Image::bootable("1");
    let pinned = host.fetch(&host.image("probe", &image)).await.unwrap();
    let root = second_format(&host, &pinned.manifest_digest);
    let sealed = with_uki(image, PATH, &format!("composefs=?{root}"), "k");
    let deployment = host.deploy(&host.image("v1", &sealed), None).await;
    assert!(deployment.id.as_str().starts_with(&root));
    assert!(host.path(&format!("composefs/images/{root}")).is_file());
}

fn second_format(host: &Host, manifest: &bootwright_core::model::Digest) -> String {
    use composefs::{
        erofs::format::FormatVersion,
        fsverity::{FsVerityHashValue as _, Sha256HashValue},
    };
    use composefs_boot::BootOps as _;
    let repo = crate::repo::open::<Sha256HashValue>(&host.context()).unwrap();
    let image = crate::deploy::refs::open(&repo, manifest, None).unwrap();
    let options = composefs::generic_tree::OciTransformOptions::default();
    let mut tree =
        composefs_oci::image::create_filesystem(&repo, image.config_digest(), None, &options).unwrap();
    tree.transform_for_boot(&repo).unwrap();
    tree.compute_image_id(FormatVersion::V2).to_hex()
}

/// spec: BW-121
#[tokio::test]
async fn several_ukis_or_a_file_that_is_none_are_invalid_input() {
    let several = with_uki(Image::bootable("1"), PATH, "quiet", "k")
        .layer(vec![Entry::File("boot/EFI/Linux/other.efi", uki("quiet", "k"))]);
    let junk = Image::bootable("1").layer(vec![
        Entry::Folder("boot/EFI"),
        Entry::Folder("boot/EFI/Linux"),
        Entry::File(PATH, big("junk")),
    ]);
    for image in [several, junk] {
        let host = Host::initialized().await;
        let pinned = host.fetch(&host.image("v1", &image)).await.unwrap();
        let error = host.prepare(&pinned, None).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn addons_come_with_their_uki() {
    let host = Host::initialized().await;
    let root = root_of(&Image::bootable("1")).await;
    let cmdline = format!("composefs.digest=?v1-sha256-12:{root}");
    let image = with_uki(Image::bootable("1"), PATH, &cmdline, "k").layer(vec![
        Entry::Folder("boot/EFI/Linux/6.1.0.efi.extra.d"),
        Entry::File("boot/EFI/Linux/6.1.0.efi.extra.d/debug.addon.efi", big("addon")),
    ]);
    let deployment = host.deploy(&host.image("v1", &image), None).await;
    let artifacts = host.backend().boot_artifacts(&deployment.id).await.unwrap();
    let KernelArtifacts::Unified { addons, .. } = artifacts.kernel else { panic!("not unified") };
    assert_eq!(addons.iter().map(|addon| addon.name.as_str()).collect::<Vec<_>>(), ["debug.addon.efi"]);
}

#[tokio::test]
async fn a_store_that_is_sealed_later_demands_verity_already() {
    let host = Host::initialized().await;
    let mut context = host.context();
    context.verity = Verity::Required;
    context.sealing = Sealing::Offline;
    let backend = Host::open(context);
    let image = host.image("v1", &Image::bootable("1"));
    let pinned = backend.fetch(&image, &super::support::Recorder::default()).await.unwrap();
    let deployment = backend.prepare(&super::support::spec(&pinned, None)).await.unwrap();
    let artifacts = backend.boot_artifacts(&deployment.id).await.unwrap();
    assert!(deployment.verified);
    assert_eq!(artifacts.root_args.to_string(), format!("composefs.digest=v1-sha256-12:{}", deployment.id));
}
