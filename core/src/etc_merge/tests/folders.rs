//! Real folders: what is scanned, merged and written reads back the same.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, PermissionsExt, chown, symlink},
    },
    path::Path,
};

use rustix::fs::{FileType, Mode, XattrFlags, lgetxattr, lsetxattr};

use crate::{
    ErrorKind,
    etc_merge::{Content, EtcTree, FileContent, Metadata, Node, NodeKind, Special, materialise, merge, scan},
    fs::{Faults, Root},
};

fn root(path: &Path) -> Root {
    Root::open(path, Faults::none()).unwrap()
}

fn put(path: impl AsRef<Path>, text: &str, mode: u32) {
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn write(tree: &EtcTree, path: &Path) -> crate::Result<()> {
    fs::create_dir_all(path).unwrap();
    materialise(tree, &root(path)).map(|_| ())
}

fn long_name() -> OsString {
    OsString::from_vec([b"\xff\xfe".as_slice(), &[b'x'; 253]].concat())
}

/// The old default: `keep`, `change`, `delete` and a folder.
fn default_etc(path: &Path) {
    fs::create_dir_all(path.join("app")).unwrap();
    for name in ["keep", "change", "delete", "app/default.conf"] {
        put(path.join(name), "1", 0o644);
    }
    symlink("../usr/share/zoneinfo/UTC", path.join("localtime")).unwrap();
}

/// Needs root: nobody else may set owners and trusted attributes.
///
/// spec: BW-204
#[test]
fn a_merged_folder_reads_back_with_everything_that_both_sides_set() {
    let temporary = tempfile::tempdir().unwrap();
    let [base, local, new, result] =
        ["base", "local", "new", "result"].map(|name| temporary.path().join(name));
    for path in [&base, &local, &new] {
        default_etc(path);
    }
    change_locally(&local);
    put(new.join("keep"), "2", 0o640);
    put(new.join("added-by-default"), "2", 0o644);
    let [b, l, n] = [&base, &local, &new].map(|path| scan(&root(path)).unwrap());
    let (merged, report) = merge(&b, &l, &n);
    write(&merged, &result).unwrap();

    assert!(scan(&root(&result)).unwrap().same_as(&merged), "the folder is not what was merged");
    assert_eq!((report.deleted, report.conflicts.len()), (1, 0));
    assert_eq!(fs::read_to_string(result.join("keep")).unwrap(), "2");
    assert!(result.join("added-by-default").exists() && !result.join("delete").exists());
    look_at_local_changes(&result, &local);
}

fn change_locally(local: &Path) {
    put(local.join("change"), "mine", 0o600);
    chown(local.join("change"), Some(12), Some(34)).unwrap();
    fs::remove_file(local.join("delete")).unwrap();
    fs::remove_file(local.join("localtime")).unwrap();
    symlink(OsStr::from_bytes(b"/nowhere/\xff"), local.join("localtime")).unwrap();
    let folder = local.join("app").join(long_name());
    fs::create_dir(&folder).unwrap();
    let tool = folder.join(long_name());
    put(&tool, "#!", 0o755);
    chown(&tool, Some(5), Some(6)).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
    for name in ["trusted.secret", "user.note", "security.other"] {
        lsetxattr(&tool, name, b"\0value", XattrFlags::empty()).unwrap();
    }
    lsetxattr(local.join("app"), "trusted.folder", b"", XattrFlags::empty()).unwrap();
    lsetxattr(local.join("localtime"), "trusted.link", b"l", XattrFlags::empty()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, local.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0)
        .unwrap();
}

fn look_at_local_changes(result: &Path, local: &Path) {
    let stat = fs::metadata(result.join("change")).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (12, 34, 0o600));
    assert_eq!(
        stat.mtime_nsec(),
        fs::metadata(local.join("change")).unwrap().mtime_nsec(),
        "its time was lost"
    );
    assert_eq!(fs::read_link(result.join("localtime")).unwrap().as_os_str().as_bytes(), b"/nowhere/\xff");
    let tool = result.join("app").join(long_name()).join(long_name());
    let stat = fs::metadata(&tool).unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mode() & 0o7777),
        (5, 6, 0o6755),
        "setuid or its owner was lost"
    );
    for name in ["trusted.secret", "user.note", "security.other"] {
        assert_eq!(xattr(&tool, name), b"\0value", "{name}");
    }
    assert_eq!(xattr(&result.join("localtime"), "trusted.link"), b"l");
}

fn xattr(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 100];
    let len = lgetxattr(path, name, value.as_mut_slice()).unwrap();
    value.truncate(len);
    value
}

#[test]
fn an_unreadable_folder_mode_does_not_stop_its_own_content() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    put(source.join("d/f"), "x", 0o400);
    fs::set_permissions(source.join("d"), fs::Permissions::from_mode(0o555)).unwrap();
    let result = temporary.path().join("result");
    write(&scan(&root(&source)).unwrap(), &result).unwrap();
    assert_eq!(fs::metadata(result.join("d")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(fs::read_to_string(result.join("d/f")).unwrap(), "x");
}

#[test]
fn links_that_lead_out_are_recorded_and_not_followed() {
    let temporary = tempfile::tempdir().unwrap();
    symlink("/", temporary.path().join("out")).unwrap();
    let tree = scan(&root(temporary.path())).unwrap();
    assert_eq!(tree.len(), 2);
    assert!(matches!(&tree.get("out").unwrap().kind, NodeKind::Symlink(target) if target == "/"));
}

#[test]
fn a_socket_is_seen_and_not_made_again() {
    let temporary = tempfile::tempdir().unwrap();
    let (source, result) = (temporary.path().join("s"), temporary.path().join("r"));
    fs::create_dir(&source).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.join("sock")).unwrap();
    let tree = scan(&root(&source)).unwrap();
    assert!(matches!(tree.get("sock").unwrap().kind, NodeKind::Special(Special::Socket)));
    write(&tree, &result).unwrap();
    assert_eq!(fs::read_dir(&result).unwrap().count(), 0);
}

#[test]
fn a_file_that_goes_away_between_scan_and_copy_is_left_out() {
    let temporary = tempfile::tempdir().unwrap();
    let (source, result) = (temporary.path().join("s"), temporary.path().join("r"));
    fs::create_dir(&source).unwrap();
    put(source.join("lock"), "", 0o600);
    put(source.join("stays"), "old", 0o600);
    let tree = scan(&root(&source)).unwrap();
    fs::remove_file(source.join("lock")).unwrap();
    put(source.join("stays"), "newer", 0o600);
    write(&tree, &result).unwrap();
    assert!(!result.join("lock").exists());
    assert_eq!(fs::read_to_string(result.join("stays")).unwrap(), "newer");
}

#[test]
fn a_stored_file_with_other_bytes_than_its_digest_is_an_integrity_error() {
    let mut file = FileContent::from_bytes(b"good".as_slice());
    file.content = Content::stored(|| Ok(Box::new(b"evil".as_slice())));
    let mut tree = EtcTree::new(Metadata::with_mode(0o755));
    let owner = Metadata { uid: rustix::process::geteuid().as_raw(), ..Metadata::with_mode(0o644) };
    tree.insert("f", Node::file(file, owner)).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    assert_eq!(write(&tree, temporary.path()).unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn a_folder_that_is_not_empty_is_refused_before_anything_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    put(temporary.path().join("old"), "", 0o600);
    let error = write(&EtcTree::new(Metadata::with_mode(0o700)), temporary.path()).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, crate::Effect::None));
}

#[test]
fn every_entry_is_one_counted_mutation_and_a_stop_is_partial() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("source");
    default_etc(&source);
    let tree = scan(&root(&source)).unwrap();
    let entries = tree.len() as u64 - 1;
    let at = |name: &str, faults: Faults| {
        fs::create_dir(temporary.path().join(name)).unwrap();
        Root::open(temporary.path().join(name), faults).unwrap()
    };
    let whole = at("whole", Faults::none());
    assert_eq!(materialise(&tree, &whole).unwrap().entries, entries);
    assert_eq!(whole.faults().count(), entries);
    for n in 0..entries {
        let error = materialise(&tree, &at(&n.to_string(), Faults::stop_before(n))).unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Interrupted, crate::Effect::Partial));
        let written = scan(&root(&temporary.path().join(n.to_string()))).unwrap();
        assert_eq!(written.len() as u64 - 1, n, "stopped before mutation {n}");
    }
}
