//! Layouts in a tar file. Needs root: an image has files of several owners.

use bootwright_core::{error::ErrorKind, model::ImageSummary};

use super::{
    image::{Image, gzip},
    support::Host,
};

/// The image as a layout folder, and the bytes of the same layout as a tar file.
fn packed(host: &Host) -> (ImageSummary, Vec<u8>) {
    let image = host.image("v1", &Image::bootable("1"));
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", host.images("v1")).unwrap();
    (image, tar.into_inner().unwrap())
}

fn archive(host: &Host, image: &ImageSummary, bytes: &[u8]) -> ImageSummary {
    let path = host.images("archive");
    std::fs::write(&path, bytes).unwrap();
    ImageSummary { reference: format!("oci-archive:{}", path.display()).parse().unwrap(), ..image.clone() }
}

#[tokio::test]
async fn an_archive_gives_the_same_root_as_its_folder_compressed_or_not() {
    let host = Host::initialized().await;
    let (image, tar) = packed(&host);
    let expected = host.deploy(&image, None).await;
    for bytes in [tar.clone(), gzip(&tar)] {
        let other = Host::initialized().await;
        assert_eq!(other.deploy(&archive(other_images(&other), &image, &bytes), None).await.id, expected.id);
    }
}

/// A host's folder for images exists once an image was written.
fn other_images(host: &Host) -> &Host {
    std::fs::create_dir_all(host.images("")).unwrap();
    host
}

#[tokio::test]
async fn an_archive_that_is_cut_off_is_invalid_input() {
    let host = Host::initialized().await;
    let (image, tar) = packed(&host);
    for length in [tar.len() / 2, 700] {
        let cut = archive(&host, &image, &tar[..length]);
        let error = host.fetch(&cut).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{length}: {error:?}");
    }
}

#[tokio::test]
async fn an_archive_that_is_not_there_is_not_found() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    let missing = ImageSummary { reference: "oci-archive:/nowhere/x.tar".parse().unwrap(), ..image };
    assert_eq!(host.fetch(&missing).await.unwrap_err().kind(), ErrorKind::NotFound);
}
