//! Layers on their way to the library of the composefs backend: what it would keep in memory, or never come to an end of, is refused.
#![no_main]

#[path = "../../backends/composefs/src/fetch/scan.rs"]
mod scan;

use bootwright_core::error::{ErrorKind, Result};
use bootwright_fuzz::within;
use libfuzzer_sys::fuzz_target;
use scan::Scanner;
use tar_core::{
    HEADER_SIZE,
    parse::{ParseEvent, Parser},
};

/// The headers of one entry, and tables of the parser.
const FIXED: usize = 4 << 20;
/// How much the library reads at once.
const AT_ONCE: usize = 64 << 10;
/// Of a header's checksum, and of the magic that tells a header (POSIX.1-2017, pax, "ustar Interchange Format").
const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: std::ops::Range<usize> = 257..262;

fuzz_target!(|input: &[u8]| {
    let layer = with_checksums(input);
    let whole = sound(within(FIXED, || Scanner::new().scan(&layer)));
    let mut scanner = Scanner::new();
    let at_once = 1 + input.first().map_or(0, |byte| usize::from(*byte) * 7);
    let pieces = layer.chunks(at_once).all(|piece| sound(scanner.scan(piece)));
    assert_eq!(pieces, whole, "another verdict in pieces");
    if whole {
        read(&layer);
    }
});

/// Whether it passed; it is refused as bad input, and as nothing else.
fn sound(outcome: Result<()>) -> bool {
    if let Err(error) = &outcome {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    outcome.is_ok()
}

/// The same with the right checksum in all that looks like a header.
fn with_checksums(input: &[u8]) -> Vec<u8> {
    let mut layer = input.to_vec();
    for block in layer.chunks_exact_mut(HEADER_SIZE).filter(|block| &block[MAGIC] == b"ustar") {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    layer
}

/// Goes through a layer as the library does.
fn read(layer: &[u8]) {
    let (mut parser, mut at, mut there) = (Parser::with_defaults(), 0, AT_ONCE);
    while at < layer.len() {
        let rest = &layer[at..];
        let seen = &rest[..there.min(rest.len())];
        let (consumed, size) = match parser.parse(seen) {
            Ok(ParseEvent::NeedData { min_bytes }) => {
                assert!(min_bytes > seen.len(), "the library would ask for ever");
                if seen.len() == rest.len() {
                    return;
                }
                there = min_bytes;
                continue;
            }
            Ok(ParseEvent::GlobalExtensions { consumed, .. }) => (consumed, 0),
            Ok(ParseEvent::Entry { consumed, entry }) => {
                assert!(entry.size == 0 || entry.entry_type.is_file(), "the library would keep this");
                (consumed, usize::try_from(entry.padded_size()).unwrap_or(usize::MAX))
            }
            Ok(ParseEvent::SparseEntry { .. } | ParseEvent::End { .. }) | Err(_) => return,
        };
        (at, there) = (at.saturating_add(consumed).saturating_add(size), AT_ONCE);
    }
}
