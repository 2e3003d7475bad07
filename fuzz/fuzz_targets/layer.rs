//! Layers on their way in: plain, gzip or zstd, checked while they are unpacked, in little memory however much they unpack to.
#![no_main]

use std::pin::pin;

use bootwright_core::{
    blobs::{LayerSpec, Unpacked, channel, stream, unpack},
    model::Digest,
};
use bootwright_fuzz::within;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

/// Pieces that may wait (four of 256 KiB and those at both ends), buffers, and the windows of the decoders.
const LIMIT: usize = 4 << 20;
/// Bombs are let go on for this long, and then nobody listens any more.
const MOST: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    // First with a digest of the content that cannot be right, then with the right one.
    let wrong = Digest::from_sha256([0; 32]);
    let (verdict, content) = within(LIMIT, || run(input, &wrong));
    assert!(verdict.is_err() || content.is_none(), "a layer with a wrong digest was accepted");
    let Some(content) = content else { return };
    let (verdict, again) = run(input, &content);
    assert!(again.as_ref() == Some(&content));
    if let Err(error) = verdict {
        assert!(error.kind() != bootwright_core::ErrorKind::Internal, "{error}");
    }
});

/// The verdict, and the digest of what came out unless that was too much.
fn run(blob: &[u8], diff_id: &Digest) -> (bootwright_core::Result<()>, Option<Digest>) {
    let spec =
        LayerSpec { digest: Digest::of(blob), diff_id: diff_id.clone(), size: Some(blob.len() as u64) };
    let (events, _arriving) = channel();
    let progress = events.layer("sha256:0", blob.len() as u64);
    let (sender, unpacked) = stream();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || drain(unpacked));
        let verdict = unpack(blob, &spec, progress, &sender);
        drop(sender);
        (verdict, reader.join().expect("the reader does not panic"))
    })
}

fn drain(unpacked: Unpacked) -> Option<Digest> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut unpacked = pin!(unpacked);
        let (mut hash, mut total, mut buffer) = (Sha256::new(), 0, vec![0; 64 << 10]);
        // An error at the end is the verdict, which the other side has as well.
        while let Ok(n @ 1..) = unpacked.read(&mut buffer).await {
            hash.update(&buffer[..n]);
            total += n;
            if total > MOST {
                return None;
            }
        }
        Some(Digest::from_sha256(hash.finalize().into()))
    })
}
