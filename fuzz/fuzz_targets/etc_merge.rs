//! The merge of `/etc`: three arbitrary trees. Nothing is lost, local changes win, and merging again changes nothing.
#![no_main]

use std::path::PathBuf;

use bootwright_core::etc_merge::{EtcTree, FileContent, Metadata, Node, NodeKind, Special, merge};
use libfuzzer_sys::fuzz_target;

/// More entries only take longer.
const MOST: usize = 200;

/// One entry of one tree, with numbers for names so that the three sides meet often.
#[derive(Debug)]
struct Entry {
    sides: u8,
    path: [u8; 4],
    kind: u8,
    content: u8,
    metadata: u8,
}

/// Entries take eight bytes each.
const ENTRY: usize = 8;

fuzz_target!(|input: &[u8]| {
    let entries: Vec<Entry> = input.chunks_exact(ENTRY).filter_map(entry).take(MOST).collect();
    let [base, local, new] = &[1, 2, 4].map(|side| tree(&entries, side));
    let (result, report) = merge(base, local, new);
    well_formed(&result);
    local_wins(base, local, &result);
    for conflict in &report.conflicts {
        assert!(!conflict.is_empty() && !conflict.starts_with('/') && !conflict.contains(".."), "{conflict}");
    }
    let (again, same_report) = merge(base, local, new);
    assert!(again.same_as(&result));
    assert_eq!(same_report, report);
    // What was merged is the local state of the next upgrade: without a new default, it stays.
    let (kept, next) = merge(new, &result, new);
    assert!(kept.same_as(&result), "an upgrade to the same default changes /etc");
    assert!(next.conflicts.is_empty());
    let (untouched, quiet) = merge(base, base, new);
    assert!(untouched.same_as(new) && quiet.kept + quiet.deleted == 0 && quiet.conflicts.is_empty());
});

fn entry(bytes: &[u8]) -> Option<Entry> {
    let &[sides, a, b, c, d, kind, content, metadata] = bytes else { return None };
    Some(Entry { sides, path: [a, b, c, d], kind, content, metadata })
}

/// Entries that could not exist are left out, as `insert` refuses them.
fn tree(entries: &[Entry], side: u8) -> EtcTree {
    let mut tree = EtcTree::new(Metadata::with_mode(0o755));
    for entry in entries.iter().filter(|entry| entry.sides & side != 0) {
        let _ = tree.insert(path(entry.path), node(entry));
    }
    tree
}

fn path(numbers: [u8; 4]) -> PathBuf {
    const NAMES: [&str; 8] = ["a", "a-", "a.d", "b", "A", "..", "\u{e9}", "."];
    let depth = usize::from(numbers[0] % 4) + 1;
    numbers[..depth].iter().map(|number| NAMES[usize::from(number / 4) % NAMES.len()]).collect()
}

fn node(entry: &Entry) -> Node {
    let mut metadata = Metadata::with_mode(if entry.metadata & 1 == 0 { 0o755 } else { 0o4600 });
    metadata.uid = u32::from(entry.metadata >> 1 & 1);
    metadata.gid = u32::from(entry.metadata >> 2 & 1);
    for (bit, name) in [(8, "user.x"), (16, "security.selinux")] {
        if entry.metadata & bit != 0 {
            metadata.xattrs.insert(name.into(), vec![entry.content & 1]);
        }
    }
    metadata.mtime = Some((i64::from(entry.content), 0));
    match entry.kind % 8 {
        0..4 => Node::directory(metadata),
        4..6 => Node::file(FileContent::from_bytes([entry.content & 3]), metadata),
        6 => Node::symlink(["a", "../x"][usize::from(entry.content & 1)], metadata),
        _ => Node { kind: special(entry.content), metadata },
    }
}

fn special(number: u8) -> NodeKind {
    let special = match number % 4 {
        0 => Special::Fifo,
        1 => Special::Socket,
        2 => Special::CharDevice(u64::from(number)),
        _ => Special::BlockDevice(u64::from(number)),
    };
    NodeKind::Special(special)
}

/// Every entry has a folder above it, and its path stays below `/etc`.
fn well_formed(tree: &EtcTree) {
    assert!(tree.get("").is_some_and(Node::is_directory));
    for (path, _) in tree.iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
        assert!(
            path.parent().and_then(|parent| tree.get(parent)).is_some_and(Node::is_directory),
            "{path:?}"
        );
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
    }
}

/// What a person added, changed or deleted is in force.
fn local_wins(base: &EtcTree, local: &EtcTree, result: &EtcTree) {
    for (path, node) in local.iter().filter(|(path, node)| !same(base.get(path), Some(node))) {
        assert!(same(result.get(path), Some(node)), "the local {path:?} was lost");
    }
    for (path, _) in base.iter().filter(|(path, _)| local.get(path).is_none()) {
        assert!(result.get(path).is_none(), "{path:?} was deleted and is back");
    }
}

fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.same_as(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}
