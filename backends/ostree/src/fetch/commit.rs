//! From layers to the commit of an image.
//!
//! What differs from the tree that a container would see:
//!
//! - `/etc` becomes `/usr/etc`, where libostree looks for defaults. If an image has both, files of `/etc` win.
//! - `/var` stays as it is: the first deployment of a stateroot is seeded from it.
//! - `/sysroot` is emptied: the physical root appears there.
//! - Folders that early boot mounts on, and the link `/ostree`, are added if they are missing.

use std::collections::BTreeMap;

use bootwright_core::{
    error::{Error, Result},
    model::ImageSummary,
};
use ostree_ext::{gio, glib, ostree};

use super::{
    convert::Content as _,
    entry::Meta,
    layer::publish,
    listing,
    objects::Objects,
    refs,
    tree::{Folder, Node},
};
use crate::{errors::LibraryContext, repo::Store};

/// Key of the commit's metadata: the image's manifest.
pub(crate) const MANIFEST_KEY: &str = "bootwright.manifest-digest";
/// The key under which libostree and its tools look for a version.
pub(crate) const VERSION_KEY: &str = "version";
/// Mount points, with their modes.
const MOUNT_POINTS: &[(&str, u32)] = &[
    ("boot", 0o755),
    ("dev", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("sysroot", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// Merges the layers of an image, which are all in the repository, and names the result. Blocks.
///
/// # Errors
/// `InvalidInput` if the layers do not fit together.
pub(super) fn assemble(
    store: &Store,
    image: &ImageSummary,
    layers: &[String],
    cancellable: &gio::Cancellable,
) -> Result<()> {
    store.sysroot.faults().before("write the image's tree")?;
    let repo = store.open()?;
    let mut root = merge(&repo, layers)?;
    arrange(&mut root);
    repo.set_disable_fsync(true);
    let transaction =
        repo.auto_transaction(Some(cancellable)).context(|| "write the image's tree".to_owned())?;
    let objects = Objects { repo: &repo, cancellable };
    if !root.children.contains_key("ostree") {
        let plain = Meta { mode: 0o777, uid: 0, gid: 0, xattrs: BTreeMap::new() };
        let link = objects.symlink(&plain, "sysroot/ostree")?;
        root.children.insert("ostree".to_owned(), Node::File(link));
    }
    let id = objects.folder(&root)?;
    let subject = format!("Image {}", image.manifest_digest);
    let commit = objects.commit(&metadata(image, layers), &subject, time(image), &id)?;
    publish(store, transaction, &refs::image(&image.manifest_digest), &commit, cancellable)?;
    store.sysroot.sync_filesystem()
}

fn merge(repo: &ostree::Repo, layers: &[String]) -> Result<Folder> {
    let mut root = Folder::default();
    for name in layers {
        let commit = refs::commit(repo, name)?.ok_or_else(|| {
            Error::not_found(format!("{name} disappeared from the repository"))
                .with_hint("run the command again")
        })?;
        root.apply(&listing::read(repo, &commit)?)?;
    }
    Ok(root)
}

/// Turns what a container would see into what libostree deploys.
pub(super) fn arrange(root: &mut Folder) {
    if let Some(sysroot) = root.folder_mut("sysroot") {
        sysroot.children.clear();
    }
    move_etc(root);
    for (name, mode) in MOUNT_POINTS {
        root.children.entry((*name).to_owned()).or_insert_with(|| {
            let meta = Meta { mode: *mode, ..Meta::default_folder() };
            Node::Folder(Folder { meta: Some(meta), children: BTreeMap::new() })
        });
    }
}

fn move_etc(root: &mut Folder) {
    let Some(Node::Folder(etc)) = root.children.remove("etc") else { return };
    let usr = root.children.entry("usr".to_owned()).or_insert_with(|| Node::Folder(Folder::default()));
    let Node::Folder(usr) = usr else { return };
    match usr.children.get_mut("etc") {
        Some(Node::Folder(below)) => lay_over(below, etc),
        _ => drop(usr.children.insert("etc".to_owned(), Node::Folder(etc))),
    }
}

/// Puts a folder's content over that of another.
fn lay_over(below: &mut Folder, above: Folder) {
    below.meta = above.meta.or(below.meta.take());
    for (name, node) in above.children {
        match (below.children.get_mut(&name), node) {
            (Some(Node::Folder(below)), Node::Folder(above)) => lay_over(below, above),
            (_, node) => drop(below.children.insert(name, node)),
        }
    }
}

fn metadata(image: &ImageSummary, layers: &[String]) -> glib::VariantDict {
    let metadata = glib::VariantDict::new(None);
    metadata.insert(MANIFEST_KEY, image.manifest_digest.as_str());
    metadata.insert(refs::LAYERS_KEY, layers);
    if let Some(version) = &image.version {
        metadata.insert(VERSION_KEY, version.as_str());
    }
    metadata
}

/// Of the image's creation, so that one image always gives one commit; 1970 if it does not say.
fn time(image: &ImageSummary) -> u64 {
    let created = image.created.as_deref().and_then(|text| glib::DateTime::from_iso8601(text, None).ok());
    created.and_then(|time| u64::try_from(time.to_unix()).ok()).unwrap_or_default()
}
