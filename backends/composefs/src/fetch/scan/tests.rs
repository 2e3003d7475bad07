//! Ordinary layers pass as they are, in pieces of any size; what would fill the memory does not.

use bootwright_core::error::ErrorKind;
use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

use super::*;

type Tar = tar::Builder<Vec<u8>>;

fn header(kind: u8, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path("usr/a").unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.as_mut_bytes()[156] = kind;
    header.set_cksum();
    header
}

/// One header with records before it, and no content.
fn announced(kind: u8, records: &[(&str, &[u8])], size: u64) -> Vec<u8> {
    let mut tar = Tar::new(Vec::new());
    tar.append_pax_extensions(records.iter().copied()).unwrap();
    [&tar.get_ref()[..], header(kind, size).as_bytes()].concat()
}

/// Scans these pieces.
fn scan(pieces: &[&[u8]]) -> Result<()> {
    let mut scanner = Scanner::new();
    pieces.iter().try_for_each(|piece| scanner.scan(piece))
}

fn refused(what: &str, pieces: &[&[u8]]) {
    let error = scan(pieces).expect_err(what);
    assert!(error.kind() == ErrorKind::InvalidInput && error.hint().is_some(), "{what}: {error:?}");
}

/// spec: BW-326
#[test]
fn content_of_what_is_no_file_is_refused_with_its_header() {
    for kind in *b"123456ZVDMXx" {
        let records: &[(&str, &[u8])] = &[("size", b"5")];
        // Without the magic of a format that has them, records are an entry like any other.
        let mut old = header(kind, 5);
        old.as_mut_bytes()[257..265].fill(0);
        old.set_cksum();
        refused("a size in an old header", &[old.as_bytes()]);
        if kind != b'x' {
            refused("a size", &[header(kind, 5).as_bytes()]);
            refused("a size in a record", &[&announced(kind, records, 0)]);
        }
    }
    for kind in *b"0\x007" {
        Scanner::new().scan(header(kind, 5).as_bytes()).unwrap();
    }
}

#[test]
fn sizes_that_cannot_be_rounded_up_are_refused() {
    let size = u64::MAX.to_string();
    refused("a size", &[&announced(b'0', &[("size", size.as_bytes())], 0)]);
}

/// spec: BW-326
#[test]
fn a_map_of_a_sparse_file_is_refused_before_the_library_waits_for_its_end() {
    let version: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")];
    let head = announced(b'0', &version, 1 << 40);
    refused("a map without a line", &[&[&head[..], &[b'0'; 512]].concat()]);
    let mut chain = header(b'S', 0);
    chain.as_mut_bytes()[482] = 1;
    chain.set_cksum();
    let mut block = [0; 512];
    block[504] = 1;
    refused("a map of empty blocks", &[&[&chain.as_bytes()[..], &block.repeat(8192)].concat()]);
}

/// spec: BW-326
#[test]
fn headers_that_would_fill_the_memory_are_refused() {
    let comment = vec![b'#'; 1 << 20];
    let comment = [&header(b'g', comment.len() as u64).as_bytes()[..], &comment].concat();
    let small = [&header(b'0', 3).as_bytes()[..], b"abc", &[0; 509]].concat();
    let empty = *header(b'0', 0).as_bytes();
    for (what, entry) in [("comments", &comment[..]), ("small files", &small), ("empty files", &empty)] {
        let room = 3 * entry.len() as u64;
        let mut scanner = Scanner { kept: MOST_KEPT - room, ..Scanner::new() };
        let passed = (0..10).take_while(|_| scanner.scan(entry).is_ok()).count();
        assert_eq!(passed, 3, "{what}");
    }
    let mut scanner = Scanner { kept: MOST_KEPT - 1024, ..Scanner::new() };
    scanner.scan(header(b'0', 1 << 30).as_bytes()).unwrap();
    (0..1 << 10).for_each(|_| scanner.scan(&comment[..1 << 20]).unwrap());
}

/// spec: BW-326
#[test]
fn what_follows_the_end_of_the_archive_may_fill_a_record_and_no_more() {
    let end = [0; 1024];
    scan(&[&[end.to_vec(), vec![1; 64 << 10]].concat()]).unwrap();
    let mut scanner = Scanner::new();
    let zeros = vec![0; 64 << 10];
    let passed = (0..1000).take_while(|_| scanner.scan(&zeros).is_ok()).count();
    assert_eq!(passed, 16, "pieces of 64 KiB");
}

#[test]
fn what_the_parser_refuses_is_left_to_the_library() {
    scan(&[b"no archive at all".repeat(100).as_slice()]).unwrap();
    let too_large = header(b'x', (1 << 20) + 1);
    scan(&[too_large.as_bytes(), &[b'x'; 4096]]).unwrap();
}

/// One entry of an ordinary layer: its type, and the length of its name and its content.
fn entry() -> impl Strategy<Value = (u8, usize, usize)> {
    (0..8_u8, prop_oneof![1..20_usize, 95..300_usize], prop_oneof![0..80_usize, 480..2100_usize])
}

fn append(tar: &mut Tar, (kind, name, size): (u8, usize, usize)) {
    let name = "n".repeat(name);
    let content = vec![b'c'; size];
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(0);
    match kind {
        0 => header.set_entry_type(tar::EntryType::Directory),
        1 | 2 => {
            let links = [tar::EntryType::Symlink, tar::EntryType::Link];
            header.set_entry_type(links[usize::from(kind) - 1]);
            tar.append_link(&mut header, "a", &name).unwrap();
            return;
        }
        3 => header.set_entry_type(tar::EntryType::Fifo),
        4 => {
            let text = format!("{size}");
            tar.append_pax_extensions([
                ("SCHILY.xattr.user.x", content.as_slice()),
                ("size", text.as_bytes()),
            ])
            .unwrap();
            header.set_size(size as u64);
        }
        _ => header.set_size(size as u64),
    }
    let content = if header.size().unwrap() == 0 { &[] } else { content.as_slice() };
    tar.append_data(&mut header, name, content).unwrap();
}

proptest! {
    #[test]
    fn ordinary_layers_pass_byte_for_byte_in_pieces_of_any_size(
        entries in prop::collection::vec(entry(), 0..12),
        at_once in prop_oneof![1..30_usize, 500..3000_usize],
    ) {
        let mut tar = Tar::new(Vec::new());
        for entry in entries {
            append(&mut tar, entry);
        }
        let bytes = tar.into_inner().unwrap();
        let mut passed = Vec::new();
        let mut stream = Scanned::new(bytes.as_slice()).take(u64::MAX);
        let mut buffer = vec![0; at_once];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            while let n @ 1.. = stream.read(&mut buffer).await.unwrap() {
                passed.extend_from_slice(&buffer[..n]);
            }
        });
        prop_assert_eq!(passed, bytes);
    }

    #[test]
    fn any_bytes_get_the_same_verdict_in_one_piece_and_in_many(
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 0..4),
        at_once in 1..700_usize,
    ) {
        let mut tar = Tar::new(Vec::new());
        for entry in [(4, 3, 40), (0, 200, 0), (5, 3, 700), (2, 150, 0)] {
            append(&mut tar, entry);
        }
        let mut bytes = tar.into_inner().unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
            // Or the parser would look no further.
            if let Some(block) = bytes.chunks_exact_mut(512).nth(at / 512) {
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let whole = Scanner::new().scan(&bytes).is_ok();
        let mut scanner = Scanner::new();
        prop_assert_eq!(bytes.chunks(at_once).all(|piece| scanner.scan(piece).is_ok()), whole);
    }
}
