//! Layers over each other.

use std::io::{Read as _, Seek as _, Write as _};

use super::*;
use crate::etc_merge::NodeKind;

/// A layer: `+dir/`, `file=content`, `link->target`, `hard=>target`.
fn layer(entries: &[&str]) -> std::fs::File {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = header(0o644, 0);
        let put =
            |tar: &mut tar::Builder<Vec<u8>>, header: &mut tar::Header, kind, path: &str, target: &str| {
                header.set_entry_type(kind);
                tar.append_link(header, path, target).unwrap();
            };
        if let Some((path, target)) = entry.split_once("=>") {
            put(&mut tar, &mut header, tar::EntryType::Link, path, target);
        } else if let Some((path, target)) = entry.split_once("->") {
            put(&mut tar, &mut header, tar::EntryType::Symlink, path, target);
        } else if let Some((path, content)) = entry.split_once('=') {
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        } else {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, entry, std::io::empty()).unwrap();
        }
    }
    file(&tar.into_inner().unwrap())
}

fn header(mode: u32, uid: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn tree(layers: &[&[&str]]) -> crate::Result<LayerTree> {
    LayerTree::read(layers.iter().map(|entries| layer(entries)).collect())
}

fn paths(tree: &LayerTree) -> Vec<String> {
    tree.iter().map(|(path, _)| path.display().to_string()).filter(|path| !path.is_empty()).collect()
}

fn content(tree: &LayerTree, path: &str) -> Option<String> {
    let mut text = String::new();
    tree.open(&tree.file(path)?).unwrap().read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn a_whiteout_hides_what_is_below_and_nothing_of_its_own_layer() {
    let tree = tree(&[&["d", "d/a=1", "d/b=1", "f=1"], &["d/.wh.a", "d/a=2", ".wh.f", "d/.wh.b"]]).unwrap();
    assert_eq!(paths(&tree), ["d", "d/a"]);
    assert_eq!(content(&tree, "d/a").unwrap(), "2");
}

#[test]
fn an_opaque_folder_keeps_only_its_own_layers_entries_wherever_the_mark_stands() {
    for upper in [["d/new=2", "d/.wh..wh..opq"], ["d/.wh..wh..opq", "d/new=2"]] {
        let tree = tree(&[&["d", "d/old=1", "d/s", "d/s/x=1"], &upper]).unwrap();
        assert_eq!(paths(&tree), ["d", "d/new"]);
    }
}

#[test]
fn a_file_replaces_a_folder_with_all_that_was_in_it() {
    let tree = tree(&[&["d", "d/a=1"], &["d=file"]]).unwrap();
    assert_eq!(paths(&tree), ["d"]);
    assert_eq!(content(&tree, "d").unwrap(), "file");
}

#[test]
fn ancestors_that_are_links_are_followed_inside_the_tree() {
    let tree = tree(&[
        &["usr", "usr/lib", "usr/lib/old=1", "lib->usr/lib", "up->../../../usr"],
        &["lib/new=2", "lib/.wh.old", "up/more=3"],
    ])
    .unwrap();
    assert_eq!(content(&tree, "usr/lib/new").unwrap(), "2");
    assert_eq!(content(&tree, "/lib/../lib/new").unwrap(), "2");
    assert_eq!(content(&tree, "usr/more").unwrap(), "3");
    assert_eq!(tree.names("lib"), ["new"]);
    assert_eq!(tree.names("nothing"), Vec::<String>::new());
}

#[test]
fn hard_links_share_their_content_also_with_a_lower_layer() {
    let tree = tree(&[&["a=content"], &["b=>a", "c=>b"]]).unwrap();
    assert_eq!(tree.file("a"), tree.file("c"));
    assert_eq!(content(&tree, "b").unwrap(), "content");
}

#[test]
fn what_leads_out_of_the_tree_or_nowhere_is_refused() {
    for bad in [&["../x=1"][..], &["a=1", "a/b=2"], &["x=>gone"], &["d", "x=>d"], &["loop->loop", "loop/x=1"]]
    {
        // The library that writes the layer refuses some of these paths itself.
        let made = std::panic::catch_unwind(|| layer(bad));
        let Ok(made) = made else { continue };
        let error = LayerTree::read(vec![made]).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{bad:?}");
    }
    let whole = layer(&["a=1"]);
    let mut bytes = Vec::new();
    (&whole).read_to_end(&mut bytes).unwrap();
    for cut in [100, 300] {
        assert!(LayerTree::read(vec![file(&bytes[..cut])]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_folder_is_copied_for_a_merge() {
    let tree = tree(&[&["etc", "etc/d", "etc/d/a=1", "etc/l->d/a", "other=2"]]).unwrap();
    let etc = tree.subtree("etc").unwrap().unwrap();
    let found: Vec<_> = etc.iter().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(found, ["", "d", "d/a", "l"]);
    assert!(matches!(&etc.get("d/a").unwrap().kind, NodeKind::File(file) if file.size == 1));
    assert!(tree.subtree("other").unwrap().is_none() && tree.subtree("gone").unwrap().is_none());
}

#[test]
fn the_tree_written_as_one_layer_reads_back() {
    let long = "x".repeat(120);
    let long_file = format!("{long}=1");
    let long_link = format!("l->{long}");
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions([("SCHILY.xattr.user.note", b"a\nb".as_slice()), ("mtime", b"5".as_slice())])
        .unwrap();
    let mut header = header(0o4755, 7);
    header.set_size(3);
    tar.append_data(&mut header, "with-note", &b"abc"[..]).unwrap();
    let noted = file(&tar.into_inner().unwrap());
    let lower = layer(&["d", "d/a=1", "h=>d/a", &long_file, &long_link]);
    let before = LayerTree::read(vec![lower, noted]).unwrap();
    let mut bytes = Vec::new();
    before.write_tar(&mut bytes).unwrap();
    let after = LayerTree::read(vec![file(&bytes)]).unwrap();
    assert_eq!(paths(&after), paths(&before));
    for (path, entry) in before.iter() {
        let again = after.get(path).unwrap();
        assert_eq!(again.metadata, entry.metadata, "{}", path.display());
        assert_eq!(content(&after, path.to_str().unwrap()), content(&before, path.to_str().unwrap()));
    }
    assert_eq!(after.file("h"), after.file("d/a"));
}
