//! Damaged and malformed images: each is refused by kind, and nothing is deployed.

use bootwright_core::{
    error::ErrorKind,
    model::{Digest, ImageSummary},
};

use super::{
    image::{Entry, Image, big, gzip, put, tar_of},
    support::Host,
};

/// Replaces the first layer's blob on disk, leaving manifest and configuration as they are.
fn tamper(host: &Host, image: &ImageSummary, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = host.images("v1").join("blobs/sha256").join(image.layers[0].digest.hex());
    let blob = std::fs::read(&path).unwrap();
    std::fs::write(&path, change(blob)).unwrap();
}

async fn refused(host: &Host, image: &ImageSummary, kind: ErrorKind) {
    let error = host.fetch(image).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
    assert!(host.backend().deployments().await.unwrap().is_empty());
    assert!(
        host.backend().estimate(image).await.unwrap().layers_missing >= 1,
        "the bad layer counts as there"
    );
}

/// spec: BW-301
#[tokio::test]
async fn a_layer_with_a_changed_byte_is_an_integrity_error() {
    for plain in [false, true] {
        let host = Host::initialized().await;
        let image = host.image("v1", &Image { plain, ..Image::bootable("1") });
        tamper(&host, &image, |mut blob| {
            let middle = blob.len() / 2;
            blob[middle] ^= 0x40;
            blob
        });
        refused(&host, &image, ErrorKind::Integrity).await;
    }
}

#[tokio::test]
async fn a_plain_layer_whose_headers_are_destroyed_is_an_integrity_error() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image { plain: true, ..Image::bootable("1") });
    tamper(&host, &image, |mut blob| {
        blob[..512].fill(b'x');
        blob
    });
    refused(&host, &image, ErrorKind::Integrity).await;
}

/// spec: BW-302
#[tokio::test]
async fn a_truncated_layer_is_refused_as_incomplete() {
    for plain in [false, true] {
        let host = Host::initialized().await;
        let image = host.image("v1", &Image { plain, ..Image::bootable("1") });
        tamper(&host, &image, |mut blob| {
            blob.truncate(blob.len() / 2);
            blob
        });
        refused(&host, &image, ErrorKind::InvalidInput).await;
    }
}

#[tokio::test]
async fn a_layer_that_is_longer_than_its_manifest_says_is_refused() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    tamper(&host, &image, |mut blob| {
        blob.extend([0; 100]);
        blob
    });
    refused(&host, &image, ErrorKind::InvalidInput).await;
}

#[tokio::test]
async fn a_missing_layer_is_refused_by_name() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    let digest = image.layers[0].digest.clone();
    std::fs::remove_file(host.images("v1").join("blobs/sha256").join(digest.hex())).unwrap();
    let error = host.fetch(&image).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.message().contains(digest.as_str()),
        "{error:?}"
    );
}

/// spec: BW-302
#[tokio::test]
async fn malformed_layers_with_right_digests_are_invalid_input() {
    let tar = tar_of(&[Entry::File("usr/a", big("a")), Entry::File("usr/b", big("b"))]);
    let mut cut = gzip(&tar);
    cut.truncate(cut.len() / 2);
    let noise: Vec<u8> =
        (0..3000_u32).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let half = &tar[..700];
    for (what, blob, unpacked) in [
        ("gzip cut off", cut.clone(), tar.clone()),
        ("not a tar", noise.clone(), noise.clone()),
        ("tar cut off", half.to_vec(), half.to_vec()),
    ] {
        let host = Host::initialized().await;
        let image = host.with_layer(&blob, &Digest::of(&unpacked));
        let error = host.fetch(&image).await.expect_err(what);
        assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{what}: {error:?}");
    }
}

/// A time whose ninth digit is half a character, and a folder as large as a number can be: the library panics on them.
/// spec: BW-302
#[tokio::test]
async fn layers_on_which_the_library_panics_are_invalid_input() {
    for (what, tar) in [("time", with_odd_time()), ("size", with_endless_folder())] {
        let host = Host::initialized().await;
        let image = host.with_layer(&tar, &Digest::of(&tar));
        let error = host.fetch(&image).await.expect_err(what);
        assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{what}: {error:?}");
        assert!(host.backend().deployments().await.unwrap().is_empty());
    }
}

/// Whatever stands in the headers of a layer, with right checksums: the image is taken, or refused as what it is.
/// spec: BW-302
#[tokio::test]
async fn layers_with_any_header_are_taken_or_refused_as_invalid() {
    let host = Host::initialized().await;
    let mut random = 1_u64;
    for round in 0..24 {
        let tar = with_damaged_headers(&mut random);
        let image = host.with_layer(&tar, &Digest::of(&tar));
        if let Err(error) = host.fetch(&image).await {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "round {round}: {error:?}");
        }
    }
}

/// A layer of everything that layers hold, with a byte of some headers changed.
fn with_damaged_headers(random: &mut u64) -> Vec<u8> {
    let mut next = |below: usize| {
        // Knuth's MMIX generator: the upper bits are good enough.
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*random >> 40).unwrap() % below
    };
    let mut tar = tar::Builder::new(Vec::new());
    // Extended headers go before files, and folders before what is in them.
    for kind in *b"555x0123456x0g0L0K5KL0" {
        let mut header = tar::Header::new_gnu();
        header.set_path(["usr", "etc", "boot", "usr/a", "usr/b", "usr/c", "etc/d"][next(7)]).unwrap();
        header.set_link_name(["usr/a", "usr/b", "/etc"][next(3)]).unwrap();
        header.set_mode(0o755);
        let content: &[u8] = if kind == b'x' { b"23 mtime=1.12345678901\n" } else { b"usr/lib/f\0" };
        let content = if b"0xgLK".contains(&kind) { content } else { &[] };
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[156] = kind;
        if next(20) == 0 {
            let octal = b'0' + u8::try_from(next(8)).unwrap();
            header.as_mut_bytes()[next(345)] = [octal, octal, 0, 0xff][next(4)];
        }
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn with_odd_time() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions([("mtime", "1.12345678\u{e9}".as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, "usr/odd", &b"x"[..]).unwrap();
    tar.into_inner().unwrap()
}

fn with_endless_folder() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_path("usr/endless").unwrap();
    header.set_mode(0o755);
    header.set_size(u64::MAX - 3);
    header.set_cksum();
    [header.as_bytes(), &[0; 1024][..]].concat()
}

/// spec: BW-301
#[tokio::test]
async fn a_layer_that_unpacks_to_something_else_is_an_integrity_error() {
    let tar = tar_of(&[Entry::File("usr/a", big("a"))]);
    let other = tar_of(&[Entry::File("usr/b", big("b"))]);
    let host = Host::initialized().await;
    let image = host.with_layer(&gzip(&tar), &Digest::of(&other));
    let error = host.fetch(&image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
}

/// spec: BW-301
#[tokio::test]
async fn a_changed_manifest_or_configuration_is_an_integrity_error() {
    for which in ["manifest", "config"] {
        let host = Host::initialized().await;
        let image = host.image("v1", &Image::bootable("1"));
        let folder = host.images("v1").join("blobs/sha256");
        let manifest = std::fs::read_to_string(folder.join(image.manifest_digest.hex())).unwrap();
        let json: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let path = match which {
            "manifest" => folder.join(image.manifest_digest.hex()),
            _ => folder.join(json["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:")),
        };
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text} ")).unwrap();
        refused(&host, &image, ErrorKind::Integrity).await;
    }
}

#[tokio::test]
async fn an_artifact_that_is_no_image_is_invalid_input() {
    let host = Host::initialized().await;
    let folder = host.images("v1");
    let mut image = host.image("v1", &Image::bootable("1"));
    image.manifest_digest = put(&folder, br#"{"schemaVersion":2}"#);
    let error = host.fetch(&image).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{error:?}");
}

/// spec: BW-314
#[tokio::test]
async fn a_layer_that_climbs_out_of_the_tree_deploys_nothing_outside() {
    let host = Host::initialized().await;
    let mut header = tar::Header::new_gnu();
    let name = b"../../escaped";
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.resize(512 * 3, 0);
    let image = host.with_layer(&tar, &Digest::of(&tar));
    let error = host.fetch(&image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[tokio::test]
async fn an_image_that_is_not_in_the_store_is_not_found() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    let pinned = host.fetch(&image).await.unwrap();
    let other = bootwright_core::model::PinnedImage { manifest_digest: Digest::of(b"x"), ..pinned };
    assert_eq!(host.prepare(&other, None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_sysroot_without_a_store_says_so() {
    let host = Host::new();
    let image = host.image("v1", &Image::bootable("1"));
    assert_eq!(host.fetch(&image).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(host.backend().deployments().await.unwrap().is_empty());
}
