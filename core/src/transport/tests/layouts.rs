//! Folders and archives.

use std::fs;

use serde_json::json;

use super::fixture::{DOCKER, Layout, OCI, digest, fake_digest};
use crate::{
    ErrorKind,
    model::{ImageReference, ImageSummary, LayerSummary},
    transport::{architecture, inspect, inspect_blocking},
};

fn look(reference: &ImageReference) -> crate::Result<ImageSummary> {
    inspect_blocking(reference, Some("amd64"))
}

#[track_caller]
fn refused(reference: &ImageReference, kind: ErrorKind, words: &str) {
    let error = look(reference).unwrap_err();
    let text = format!("{error} ({})", error.hint().unwrap_or_default());
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_tagged_image_is_summarised_in_both_vocabularies() {
    for types in [OCI, DOCKER] {
        let mut layout = Layout::new();
        let image = layout.image("amd64", types);
        layout.tag("v1", image);
        let reference = layout.reference("v1");
        let expected = ImageSummary {
            reference: reference.clone(),
            manifest_digest: digest(layout.manifest()),
            architecture: "amd64".to_owned(),
            version: Some("42".to_owned()),
            created: Some("2025-01-02T03:04:05Z".to_owned()),
            layers: vec![LayerSummary {
                digest: digest(&fake_digest("b")),
                diff_id: digest(&fake_digest("d")),
                size: 1234,
            }],
        };
        assert_eq!(look(&reference).unwrap(), expected);
    }
}

#[tokio::test]
async fn this_machines_architecture_is_the_default_and_kernel_names_are_understood() {
    let mut layout = Layout::new();
    let list = layout.list(&["amd64", "arm64", "s390x", "riscv64", "386", "ppc64le"]);
    layout.tag("all", list);
    let reference = layout.reference("all");
    assert_eq!(inspect(&reference, None).await.unwrap().architecture, architecture::host());
    assert_eq!(inspect(&reference, Some("aarch64")).await.unwrap().architecture, "arm64");
}

/// spec: BW-503
#[test]
fn no_layer_is_opened() {
    let layout = Layout::with_one_image();
    assert!(!layout.blob(&fake_digest("b")).exists(), "the test is void if the layer exists");
    look(&layout.reference("v1")).unwrap();
}

#[test]
fn an_image_without_a_tag_is_found_if_it_is_the_only_one() {
    let mut layout = Layout::with_one_image();
    assert!(look(&layout.untagged()).is_ok());
    let other = layout.list(&["amd64"]);
    layout.tag("v2", other);
    refused(&layout.untagged(), ErrorKind::InvalidInput, "v1, v2");
}

#[test]
fn images_for_several_architectures_under_one_name_are_told_apart() {
    let mut layout = Layout::new();
    for name in ["arm64", "amd64"] {
        let mut image = layout.image(name, OCI);
        image["platform"] = json!({"architecture": name, "os": "linux"});
        layout.entry(image);
    }
    assert_eq!(look(&layout.untagged()).unwrap().architecture, "amd64");
}

#[test]
fn a_list_in_a_list_is_followed_and_endless_lists_are_not() {
    let mut layout = Layout::new();
    let mut list = layout.list(&["arm64", "amd64"]);
    for depth in 2..7 {
        list["platform"] = json!({"architecture": "amd64", "os": "linux"});
        list = layout.store(
            "application/vnd.oci.image.index.v1+json",
            &json!({"schemaVersion": 2, "manifests": [list]}),
        );
        layout.tag(&depth.to_string(), list.clone());
    }
    assert_eq!(look(&layout.reference("2")).unwrap().architecture, "amd64");
    refused(&layout.reference("6"), ErrorKind::InvalidInput, "lists");
}

/// spec: BW-504
#[test]
fn another_architecture_is_unsupported_and_both_are_named() {
    let mut layout = Layout::new();
    let (image, list) = (layout.image("arm64", OCI), layout.list(&["arm64", "s390x"]));
    layout.tag("one", image);
    layout.tag("list", list);
    refused(&layout.reference("one"), ErrorKind::Unsupported, "arm64, and this machine is amd64");
    refused(&layout.reference("list"), ErrorKind::Unsupported, "arm64, s390x, and this machine is amd64");
}

/// spec: BW-507
#[test]
fn what_is_not_there_is_named_with_what_there_is() {
    let layout = Layout::with_one_image();
    refused(&layout.reference("v9"), ErrorKind::NotFound, "v1");
    refused(&"oci:/nowhere/at/all:v1".parse().unwrap(), ErrorKind::NotFound, "/nowhere/at/all");
    refused(&"oci-archive:/nowhere.tar".parse().unwrap(), ErrorKind::NotFound, "/nowhere.tar");
}

#[test]
fn a_folder_that_is_no_layout_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("oci:{}", folder.path().display()).parse().unwrap();
    refused(&reference, ErrorKind::InvalidInput, "oci-layout");
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    refused(&reference, ErrorKind::Unsupported, "2.0.0");
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    refused(&reference, ErrorKind::InvalidInput, "index.json");
    fs::write(folder.path().join("index.json"), r#"{"manifests":"#).unwrap();
    refused(&reference, ErrorKind::InvalidInput, "malformed");
    fs::write(folder.path().join("index.json"), r#"{"manifests":[]}"#).unwrap();
    refused(&reference, ErrorKind::NotFound, "no image");
}

/// spec: BW-505
#[test]
fn a_changed_or_missing_document_is_an_integrity_error() {
    let layout = Layout::with_one_image();
    let config = layout.blob(&layout.config_of(layout.manifest()));
    let mut bytes = fs::read(&config).unwrap();
    bytes.push(b' ');
    fs::write(&config, bytes).unwrap();
    refused(&layout.reference("v1"), ErrorKind::Integrity, "configuration");
    fs::remove_file(config).unwrap();
    refused(&layout.reference("v1"), ErrorKind::Integrity, "incomplete");
}

/// spec: BW-505
#[test]
fn a_document_of_the_wrong_length_is_an_integrity_error() {
    let mut layout = Layout::new();
    let mut image = layout.image("amd64", OCI);
    image["size"] = json!(3);
    layout.tag("v1", image);
    refused(&layout.reference("v1"), ErrorKind::Integrity, "digest");
}

#[test]
fn a_document_that_claims_to_be_huge_is_not_read() {
    let mut layout = Layout::new();
    let mut image = layout.image("amd64", OCI);
    image["size"] = json!(u64::MAX);
    layout.tag("v1", image);
    refused(&layout.reference("v1"), ErrorKind::InvalidInput, "too large");
    fs::write(layout.path().join("index.json"), vec![b' '; 5 << 20]).unwrap();
    refused(&layout.reference("v1"), ErrorKind::InvalidInput, "4 MiB");
}

#[test]
fn things_that_are_no_system_image_are_refused_by_type() {
    let mut layout = Layout::new();
    let chart = layout.image("amd64", [OCI[0], "application/vnd.cncf.helm.config.v1+json", OCI[2]]);
    let odd = layout.image("amd64", [OCI[0], OCI[1], "application/vnd.oci.image.layer.v1.tar+encrypted"]);
    let windows =
        json!({"architecture": "amd64", "os": "windows", "rootfs": {"diff_ids": [fake_digest("d")]}});
    let windows = layout.image_with(&windows, OCI);
    let unequal = json!({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}});
    let unequal = layout.image_with(&unequal, OCI);
    for (tag, image) in [("chart", chart), ("odd", odd), ("windows", windows), ("unequal", unequal)] {
        layout.tag(tag, image);
    }
    refused(&layout.reference("chart"), ErrorKind::Unsupported, "helm");
    refused(&layout.reference("odd"), ErrorKind::Unsupported, "encrypted");
    refused(&layout.reference("windows"), ErrorKind::Unsupported, "windows");
    refused(&layout.reference("unequal"), ErrorKind::InvalidInput, "1 layers");
}

#[test]
fn an_archive_is_read_like_its_folder() {
    let layout = Layout::with_one_image();
    let folder = tempfile::tempdir().unwrap();
    let reference = layout.archive(&folder.path().join("image.tar"), "v1");
    let (from_archive, from_folder) = (look(&reference).unwrap(), look(&layout.reference("v1")).unwrap());
    assert_eq!(from_archive.manifest_digest, from_folder.manifest_digest);
    assert_eq!(from_archive.layers, from_folder.layers);
}

#[test]
fn a_compressed_or_truncated_archive_says_what_is_wrong() {
    let layout = Layout::with_one_image();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let reference = layout.archive(&path, "v1");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..700]).unwrap();
    refused(&reference, ErrorKind::InvalidInput, "not a readable tar file");
    fs::write(&path, b"\x1f\x8b\x08 and so on").unwrap();
    refused(&reference, ErrorKind::Unsupported, "gunzip");
    fs::write(&path, vec![b'x'; 2000]).unwrap();
    refused(&reference, ErrorKind::InvalidInput, "tar");
}

#[test]
fn a_file_and_a_folder_in_each_others_place_get_the_right_prefix() {
    let layout = Layout::with_one_image();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar");
    layout.archive(&archive, "v1");
    refused(
        &format!("oci:{}:v1", archive.display()).parse().unwrap(),
        ErrorKind::InvalidInput,
        "oci-archive:/",
    );
    let wrong = format!("oci-archive:{}:v1", layout.path().display()).parse().unwrap();
    refused(&wrong, ErrorKind::InvalidInput, "write oci:/");
}

#[test]
fn an_error_carries_the_reference() {
    let layout = Layout::with_one_image();
    let reference = layout.reference("none");
    let error = look(&reference).unwrap_err();
    assert!(error.context().contains(&("image", reference.to_string())));
}
