//! A layer in the repository: a commit that lists its entries and keeps their content.
//!
//! ```text
//! /entries                  JSON: every change that the layer makes, in its order
//! /ab/abcdef…               each content object, under its own checksum, so that it is not pruned
//! ```
//!
//! A layer cannot be kept as a tree of its files: whiteouts, folders of which it says nothing, and hard links into lower layers have no
//! place there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use bootwright_core::error::{Error, IoContext, Result};
use ostree_ext::{
    gio::{self, prelude::*},
    glib, ostree,
};

use super::{
    convert::Content as _,
    entry::{Change, Entry, Meta},
    objects::{FolderId, Listed, Objects},
};
use crate::errors::LibraryContext;

const ENTRIES: &str = "entries";

/// Writes the commit of a layer; its content is in the repository already.
pub(super) fn write(objects: &Objects<'_>, name: &str, entries: &[Entry]) -> Result<String> {
    let json = serde_json::to_vec(entries)
        .map_err(|error| Error::internal("describe a layer").with_source(error))?;
    let plain = Meta { mode: 0o644, uid: 0, gid: 0, xattrs: BTreeMap::new() };
    let listing = objects.file(&plain, json.len() as u64, &mut json.as_slice())?;
    let meta = objects.folder_meta(&Meta::default_folder())?;
    let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in entries {
        if let Change::File(object) = &entry.change {
            shards.entry(object.get(..2).unwrap_or_default()).or_default().insert(object);
        }
    }
    let mut root = Listed { files: vec![(ENTRIES, &listing)], folders: Vec::new() };
    for (shard, content) in shards {
        let files = content.into_iter().map(|object| (object, object)).collect();
        let tree = objects.folder_tree(&Listed { files, folders: Vec::new() })?;
        root.folders.push((shard, FolderId { tree, meta: meta.clone() }));
    }
    let root = FolderId { tree: objects.folder_tree(&root)?, meta };
    objects.commit(&glib::VariantDict::new(None), name, 0, &root)
}

/// Reads the entries of a layer back.
///
/// # Errors
/// `Integrity` if the commit is not one of [`write()`]'s.
pub(super) fn read(repo: &ostree::Repo, commit: &str) -> Result<Vec<Entry>> {
    let what = || format!("read the entries of the layer in commit {commit}");
    let damaged = || {
        Error::integrity(format!("commit {commit} is not a layer's"))
            .with_hint("check the repository with `ostree fsck`")
    };
    let (object, _) = repo.load_commit(commit).context(what)?;
    let root = checksum(&object.child_value(6)).ok_or_else(damaged)?;
    let tree = repo.load_variant(ostree::ObjectType::DirTree, &root).context(what)?;
    let mut files = tree.child_value(0).iter();
    let listing = files
        .find(|file| file.child_value(0).str() == Some(ENTRIES))
        .and_then(|file| checksum(&file.child_value(1)))
        .ok_or_else(damaged)?;
    let (content, ..) = repo.load_file(&listing, gio::Cancellable::NONE).context(what)?;
    let mut json = Vec::new();
    content.ok_or_else(damaged)?.into_read().read_to_end(&mut json).context_io(what)?;
    serde_json::from_slice(&json).map_err(|error| damaged().with_source(error))
}

/// A checksum out of an object.
pub(super) fn checksum(variant: &glib::Variant) -> Option<String> {
    let bytes = variant.fixed_array::<u8>().ok()?;
    (bytes.len() == 32).then(|| hex::encode(bytes))
}
