//! Layers as the OSTree backend reads them: entries, their names, and the tree that comes out.
#![no_main]

#[path = "../../backends/ostree/src/fetch/convert.rs"]
mod convert;
#[path = "../../backends/ostree/src/fetch/entry.rs"]
mod entry;
#[path = "../../backends/ostree/src/fetch/path.rs"]
mod path;
#[path = "../../backends/ostree/src/fetch/tar.rs"]
mod tar;
#[path = "../../backends/ostree/src/fetch/tree.rs"]
mod tree;

use std::io::Read;

use bootwright_core::error::{ErrorKind, IoContext as _, Result};
use bootwright_fuzz::within;
use convert::Content;
use entry::{Entry, Meta, ObjectId};
use libfuzzer_sys::fuzz_target;
use path::TreePath;
use sha2::{Digest as _, Sha256};
use tar::Tar;
use tree::{Folder, Found, Node};

/// What is read ahead, the names and attributes of one entry, and tables.
const FIXED: usize = 4 << 20;
/// What is kept of an entry is its name, its attributes in hex, and a digest; its header alone takes 512 bytes.
const PER_BYTE: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some(layer) = sound(within(FIXED + PER_BYTE * input.len(), || read(input))) else { return };
    let mut tree = Folder::default();
    if sound(tree.apply(&layer)).is_none() {
        return;
    }
    every_name_is_plain_and_found(&tree, &tree, "");
    let before = tree.clone();
    // A file may be in the way of what it was put in place of.
    if sound(tree.apply(&layer)).is_some() {
        assert_eq!(tree, before, "the same layer once more changed something");
    }
});

/// What was read, unless it was refused: as bad input, and as nothing else.
fn sound<T>(outcome: Result<T>) -> Option<T> {
    if let Err(error) = &outcome {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    outcome.ok()
}

fn read(input: &[u8]) -> Result<Vec<Entry>> {
    let mut tar = Tar::new(input);
    let (mut layer, mut total) = (Vec::new(), 0);
    while let Some(raw) = tar.next()? {
        total += raw.size;
        layer.extend(convert::entry(raw, |path, raw| convert::kept(path, raw, &Digests, &mut tar))?);
    }
    assert!(total <= input.len() as u64, "more content than there is input");
    Ok(layer)
}

/// The digest of a file in the place of an object.
struct Digests;

impl Content for Digests {
    fn file(&self, _: &Meta, size: u64, content: &mut dyn Read) -> Result<ObjectId> {
        let (mut hash, mut buffer, mut found) = (Sha256::new(), [0; 4096], 0);
        loop {
            let n = content.read(&mut buffer).context_io(|| "read a file".to_owned())?;
            if n == 0 {
                assert_eq!(found, size, "the content of a file has another size than its entry says");
                return Ok(hex::encode(hash.finalize()));
            }
            hash.update(&buffer[..n]);
            found += n as u64;
        }
    }

    fn symlink(&self, _: &Meta, target: &str) -> Result<ObjectId> {
        assert!(!target.is_empty() && !target.contains('\0'), "a link leads to {target:?}");
        Ok(hex::encode(Sha256::digest(target)))
    }
}

fn every_name_is_plain_and_found(root: &Folder, folder: &Folder, at: &str) {
    for (name, node) in &folder.children {
        assert!(!name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']), "{name:?}");
        let path = if at.is_empty() { name.clone() } else { format!("{at}/{name}") };
        let found = TreePath::parse(path.as_bytes()).ok().and_then(|path| root.find(&path));
        match (node, found) {
            (Node::Folder(folder), Some(Found::Folder(_))) => {
                every_name_is_plain_and_found(root, folder, &path)
            }
            (Node::File(object), Some(Found::File(found))) => assert_eq!(object, found),
            _ => panic!("{path:?} is not found"),
        }
    }
}
