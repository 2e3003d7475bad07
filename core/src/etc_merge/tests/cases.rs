//! The cases that people meet, each by name.

use crate::etc_merge::{EtcTree, FileContent, MergeReport, Metadata, Node, NodeKind, merge};

/// A tree from lines: `d/` a folder, `f=text` a file, `f=text!600` with a mode, `l->target` a link.
fn tree(lines: &[&str]) -> EtcTree {
    let mut tree = EtcTree::new(Metadata::with_mode(0o755));
    for line in lines {
        let (line, mode) = line.split_once('!').unwrap_or((line, "755"));
        let metadata = Metadata::with_mode(u32::from_str_radix(mode, 8).unwrap());
        let (path, node) = if let Some((path, target)) = line.split_once("->") {
            (path, Node::symlink(target, metadata))
        } else if let Some((path, text)) = line.split_once('=') {
            (path, Node::file(FileContent::from_bytes(text.as_bytes()), metadata))
        } else {
            (line.trim_end_matches('/'), Node::directory(metadata))
        };
        tree.insert(path, node).unwrap();
    }
    tree
}

fn text(node: &Node) -> String {
    match &node.kind {
        NodeKind::File(file) => std::io::read_to_string(file.content.open().unwrap()).unwrap(),
        NodeKind::Symlink(target) => format!("->{}", target.display()),
        _ => String::new(),
    }
}

fn show(tree: &EtcTree) -> Vec<String> {
    let line = |path: &std::path::Path, node: &Node| match node.kind {
        NodeKind::Directory => format!("{}/", path.display()),
        NodeKind::File(_) => format!("{}={}", path.display(), text(node)),
        _ => format!("{}{}", path.display(), text(node)),
    };
    tree.iter().skip(1).map(|(path, node)| line(path, node)).collect()
}

#[track_caller]
fn check(base: &[&str], local: &[&str], new: &[&str], result: &[&str], conflicts: &[&str]) -> MergeReport {
    let (merged, report) = merge(&tree(base), &tree(local), &tree(new));
    assert_eq!(show(&merged), result);
    assert_eq!(report.conflicts, conflicts);
    report
}

/// spec: BW-201
#[test]
fn an_unchanged_file_becomes_the_new_default() {
    check(&["f=1"], &["f=1"], &["f=2", "g=1"], &["f=2", "g=1"], &[]);
}

/// spec: BW-202
#[test]
fn a_changed_file_stays_and_is_counted() {
    let report = check(
        &["f=1", "x=1"],
        &["f=mine", "x=1", "own=1"],
        &["f=1", "x=1"],
        &["f=mine", "own=1", "x=1"],
        &[],
    );
    assert_eq!((report.kept, report.deleted), (2, 0));
}

/// spec: BW-202
#[test]
fn a_deletion_is_repeated_and_counted() {
    let report = check(&["f=1"], &[], &["f=1"], &[], &[]);
    assert_eq!((report.kept, report.deleted), (0, 1));
}

#[test]
fn a_file_that_both_sides_deleted_is_not_counted() {
    assert_eq!(check(&["f=1"], &[], &[], &[], &[]).deleted, 0);
}

/// spec: BW-203
#[test]
fn a_file_that_both_sides_changed_stays_local_and_is_a_conflict() {
    check(&["f=1"], &["f=mine"], &["f=2"], &["f=mine"], &["f"]);
}

#[test]
fn the_same_change_on_both_sides_is_no_conflict() {
    assert_eq!(check(&["f=1"], &["f=2"], &["f=2"], &["f=2"], &[]).kept, 0);
}

#[test]
fn a_deleted_file_whose_default_changed_stays_deleted_and_is_a_conflict() {
    check(&["f=1"], &[], &["f=2"], &[], &["f"]);
}

#[test]
fn different_additions_of_one_name_are_a_conflict() {
    check(&[], &["f=mine"], &["f=2"], &["f=mine"], &["f"]);
}

/// spec: BW-203, BW-204
#[test]
fn a_local_mode_and_a_new_content_are_a_conflict() {
    let (merged, report) = merge(&tree(&["f=1!644"]), &tree(&["f=1!600"]), &tree(&["f=2!644"]));
    assert_eq!((show(&merged), report.conflicts), (vec!["f=1".to_owned()], vec!["f".to_owned()]));
    assert_eq!(merged.get("f").unwrap().metadata.mode, 0o600);
}

#[test]
fn a_folders_own_mode_is_merged_apart_from_its_content() {
    let (merged, report) =
        merge(&tree(&["d/!755", "d/f=1"]), &tree(&["d/!700", "d/f=1"]), &tree(&["d/!755", "d/f=2"]));
    assert_eq!(merged.get("d").unwrap().metadata.mode, 0o700);
    assert_eq!((show(&merged), report.conflicts.len()), (vec!["d/".to_owned(), "d/f=2".to_owned()], 0));
}

#[test]
fn a_deleted_default_folder_stays_for_local_additions_alone() {
    check(&["d/", "d/f=1"], &["d/", "d/f=1", "d/own=1"], &[], &["d/", "d/own=1"], &[]);
}

#[test]
fn a_deleted_default_folder_stays_for_a_changed_file_which_is_a_conflict() {
    check(
        &["d/", "d/e/", "d/e/f=1"],
        &["d/", "d/e/", "d/e/f=mine"],
        &[],
        &["d/", "d/e/", "d/e/f=mine"],
        &["d/e/f"],
    );
}

/// spec: BW-204
#[test]
fn a_changed_file_whose_default_became_a_folder_stays_a_file() {
    check(&["f=1"], &["f=mine"], &["f/", "f/a=1", "f/b/"], &["f=mine"], &["f"]);
}

#[test]
fn an_unchanged_folder_becomes_the_link_that_is_its_new_default() {
    check(&["d/", "d/f=1"], &["d/", "d/f=1"], &["d->e", "e/"], &["d->e", "e/"], &[]);
}

#[test]
fn a_folder_with_additions_stays_whole_where_the_new_default_is_a_link() {
    let local = ["d/", "d/f=1", "d/own=1"];
    check(
        &["d/", "d/f=1"],
        &local,
        &["d->e", "e/", "e/f=2"],
        &["d/", "d/f=1", "d/own=1", "e/", "e/f=2"],
        &["d"],
    );
}

#[test]
fn a_folder_that_only_lost_a_file_becomes_the_new_link() {
    check(&["d/", "d/f=1", "d/g=1"], &["d/", "d/g=1"], &["d->e"], &["d->e"], &[]);
}

#[test]
fn a_local_link_in_place_of_a_folder_hides_new_files_which_are_conflicts() {
    check(
        &["d/", "d/f=1"],
        &["d->x"],
        &["d/", "d/f=1", "d/new=1", "d/sub/", "d/sub/a=1"],
        &["d->x"],
        &["d/new", "d/sub"],
    );
}

#[test]
fn a_deleted_folder_stays_deleted_and_new_files_in_it_are_conflicts() {
    let report = check(&["d/", "d/f=1"], &[], &["d/", "d/f=1", "d/new=1"], &[], &["d/new"]);
    assert_eq!(report.deleted, 2);
}

#[test]
fn new_files_arrive_in_a_folder_that_local_added_too() {
    check(&[], &["d/", "d/own=1"], &["d/", "d/new=1"], &["d/", "d/new=1", "d/own=1"], &[]);
}

/// spec: BW-204
#[test]
fn a_changed_link_target_stays() {
    check(&["tz->UTC"], &["tz->Paris"], &["tz->UTC", "n=1"], &["n=1", "tz->Paris"], &[]);
}

#[test]
fn the_mode_of_etc_itself_is_merged() {
    let root = |mode| EtcTree::new(Metadata::with_mode(mode));
    let (merged, report) = merge(&root(0o755), &root(0o700), &root(0o711));
    assert_eq!((merged.get("").unwrap().metadata.mode, report.conflicts), (0o700, vec![".".to_owned()]));
    assert_eq!(merge(&root(0o755), &root(0o755), &root(0o711)).0.get("").unwrap().metadata.mode, 0o711);
}

#[test]
fn the_report_survives_json() {
    let report = check(&["f=1"], &["f=mine"], &["f=2"], &["f=mine"], &["f"]);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(json, r#"{"kept":1,"deleted":0,"conflicts":["f"]}"#);
    assert_eq!(serde_json::from_str::<MergeReport>(&json).unwrap(), report);
}
