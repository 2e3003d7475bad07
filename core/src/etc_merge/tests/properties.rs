//! Random trees over a small set of names, so that the three sides meet often.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::etc_merge::{EtcTree, FileContent, Metadata, Node, NodeKind, Special, merge};
use crate::fs::Protection;

/// `a`, `a/a`, `a/a/a`, `a/a/b`, …: three names, three levels.
fn paths() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for depth in 1..=3_u32 {
        for n in 0..3_usize.pow(depth) {
            let digit = |level: u32| ["a", "a-", "b"][n / 3_usize.pow(level) % 3];
            all.push((0..depth).map(digit).collect());
        }
    }
    all.sort();
    all
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let xattr = prop::option::of(Just((std::ffi::OsString::from("user.x"), b"1".to_vec())));
    (prop::sample::select(vec![0o755, 0o600]), 0..2_u32, xattr, any::<(i64, u32)>()).prop_map(
        |(mode, uid, xattr, mtime)| Metadata {
            mode,
            uid,
            gid: 0,
            xattrs: xattr.into_iter().collect(),
            protection: Protection::default(),
            mtime: Some(mtime),
        },
    )
}

fn kind() -> impl Strategy<Value = NodeKind> {
    prop_oneof![
        4 => Just(NodeKind::Directory),
        3 => prop::sample::select(vec!["1", "2"]).prop_map(|text| NodeKind::File(FileContent::from_bytes(text.as_bytes()))),
        1 => Just(NodeKind::Symlink("b".into())),
        1 => Just(NodeKind::Special(Special::Fifo)),
    ]
}

fn node() -> impl Strategy<Value = Option<Node>> {
    prop::option::weighted(0.7, (kind(), metadata()).prop_map(|(kind, metadata)| Node { kind, metadata }))
}

/// One path on the three sides; most often two of them agree.
fn versions() -> impl Strategy<Value = [Option<Node>; 3]> {
    (node(), node(), node(), 0..6_u8).prop_map(|(base, local, new, which)| match which {
        0 => [base, local, new],
        1 => [base.clone(), local, base],
        2 => [base.clone(), base, new],
        3 => [base, local.clone(), local],
        _ => [base.clone(), base.clone(), base],
    })
}

/// Three trees `[base, local, new]`. An entry without a folder above it is left out.
fn trees() -> impl Strategy<Value = [EtcTree; 3]> {
    let count = paths().len();
    ([metadata(), metadata(), metadata()], prop::collection::vec(versions(), count)).prop_map(
        |(roots, nodes)| {
            let mut trees = roots.map(EtcTree::new);
            for (path, sides) in paths().iter().zip(nodes) {
                for (tree, node) in trees.iter_mut().zip(sides) {
                    let _ = node.map(|node| tree.insert(path, node));
                }
            }
            trees
        },
    )
}

fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.same_as(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn is_directory(node: Option<&Node>) -> bool {
    node.is_some_and(Node::is_directory)
}

fn every_path() -> impl Iterator<Item = PathBuf> {
    std::iter::once(PathBuf::new()).chain(paths())
}

fn reported(conflicts: &[String], path: &Path) -> bool {
    let name = if path.as_os_str().is_empty() { "." } else { path.to_str().unwrap() };
    conflicts.iter().any(|conflict| conflict == name)
}

fn reported_here_or_above(conflicts: &[String], path: &Path) -> bool {
    path.ancestors().any(|above| reported(conflicts, above))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// spec: BW-201
    #[test]
    fn without_local_changes_the_new_default_is_the_result([base, _, new] in trees()) {
        let (result, report) = merge(&base, &base, &new);
        prop_assert!(result.same_as(&new));
        prop_assert_eq!((report.kept, report.deleted, report.conflicts.len()), (0, 0, 0));
    }

    #[test]
    fn without_a_new_default_the_local_tree_is_the_result([base, local, _] in trees()) {
        let (result, report) = merge(&base, &local, &base);
        prop_assert!(result.same_as(&local));
        prop_assert!(report.conflicts.is_empty());
    }

    #[test]
    fn sides_that_agree_are_the_result([base, local, _] in trees()) {
        let (result, report) = merge(&base, &local, &local);
        prop_assert!(result.same_as(&local));
        prop_assert!(report.conflicts.is_empty());
    }

    /// spec: BW-205
    #[test]
    fn merging_again_changes_nothing([base, local, new] in trees()) {
        let (once, _) = merge(&base, &local, &new);
        prop_assert!(merge(&base, &once, &new).0.same_as(&once), "the same merge with the result as local state");
        prop_assert!(merge(&new, &once, &new).0.same_as(&once), "the next upgrade, which changes no default");
    }

    #[test]
    fn the_parent_of_everything_is_a_folder_in_the_result([base, local, new] in trees()) {
        let (result, _) = merge(&base, &local, &new);
        for (path, _) in result.iter() {
            prop_assert!(path.parent().is_none_or(|parent| is_directory(result.get(parent))), "{path:?}");
        }
    }

    /// spec: BW-202
    #[test]
    fn every_local_only_change_survives([base, local, new] in trees()) {
        let (result, _) = merge(&base, &local, &new);
        for path in every_path() {
            let (b, l, n) = (base.get(&path), local.get(&path), new.get(&path));
            if !same(l, b) && same(n, b) {
                prop_assert!(same(result.get(&path), l), "{path:?}");
            }
        }
    }

    /// spec: BW-203
    #[test]
    fn what_both_changed_differently_is_local_and_reported([base, local, new] in trees()) {
        let (result, report) = merge(&base, &local, &new);
        for path in every_path() {
            let (b, l, n) = (base.get(&path), local.get(&path), new.get(&path));
            if !same(l, b) && !same(n, b) && !same(l, n) {
                prop_assert!(same(result.get(&path), l), "{path:?} is not local");
                prop_assert!(reported_here_or_above(&report.conflicts, &path), "{path:?} is not reported");
            }
        }
    }

    /// The converse: a new default is missing from the result only where a conflict says so, but for a folder that
    /// had to stay because local things are in it.
    /// spec: BW-206
    #[test]
    fn every_default_that_is_not_in_force_is_reported([base, local, new] in trees()) {
        let (result, report) = merge(&base, &local, &new);
        for path in every_path() {
            let (b, l, n, r) = (base.get(&path), local.get(&path), new.get(&path), result.get(&path));
            let stayed = n.is_none() && same(l, b) && is_directory(r);
            if !same(n, b) && !same(r, n) && !stayed {
                prop_assert!(reported_here_or_above(&report.conflicts, &path), "{path:?}");
            }
        }
    }

    /// spec: BW-206
    #[test]
    fn nothing_is_reported_without_a_reason([base, local, new] in trees()) {
        let (result, report) = merge(&base, &local, &new);
        for path in every_path().filter(|path| reported(&report.conflicts, path)) {
            let (b, l, n) = (base.get(&path), local.get(&path), new.get(&path));
            let both = !same(l, b) && !same(n, b) && !same(l, n);
            let no_place = path.parent().is_some_and(|parent| !is_directory(local.get(parent)));
            let local_below = is_directory(l) && n.is_some() && !is_directory(n);
            prop_assert!(both || no_place || local_below, "{path:?}");
            prop_assert!(!same(result.get(&path), n), "{path:?} is the new default after all");
        }
        let mut once = report.conflicts.clone();
        once.dedup();
        prop_assert_eq!(once, report.conflicts);
    }
}
