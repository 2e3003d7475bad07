//! Layers that unpack to much more than they are: what the library would keep in memory is refused before it gets there.

use bootwright_core::{error::ErrorKind, model::Digest};

use super::{image::gzip, support::Host};

/// Each is a few kilobytes in a layer, for as many as one likes.
const PART: usize = 16 << 20;
const PARTS: usize = 64;
/// For the backend and its tests, without that layer.
const ENOUGH_MEMORY: u64 = 300 << 20;

/// The most memory that this process ever had, in bytes (proc(5), `VmHWM`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn folder_of(size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_path("usr/large").unwrap();
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A layer that starts with these bytes and goes on with 1 GiB of zeros.
async fn refused_in_little_memory(head: &[u8]) {
    let host = Host::initialized().await;
    let blob = [gzip(head), gzip(&vec![0; PART]).repeat(PARTS)].concat();
    // Nobody gets so far as to compare what it unpacks to.
    let image = host.with_layer(&blob, &Digest::of(head));
    let error = host.fetch(&image).await.unwrap_err();
    assert!(peak() < ENOUGH_MEMORY, "{} MiB were taken", peak() >> 20);
    assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{error:?}");
    assert!(host.backend().deployments().await.unwrap().is_empty());
}

/// spec: BW-302, BW-326
#[tokio::test]
async fn a_folder_with_content_is_refused_and_not_kept_in_memory() {
    refused_in_little_memory(&folder_of((PART * PARTS) as u64)).await;
}

/// spec: BW-302, BW-326
#[tokio::test]
async fn an_archive_that_goes_on_behind_its_end_is_refused_and_not_kept_in_memory() {
    refused_in_little_memory(&[0; 1024]).await;
}
