//! `/etc` of a deployment: the image's own at first, a merge at every upgrade.

use std::{os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    etc_merge::{
        Content, EtcTree, FileContent, MergeReport, Metadata, Node, NodeKind, Special, merge, put_in_place,
        scan,
    },
    fs::Protection,
    model::DeploymentId,
};
use composefs::{
    fsverity::FsVerityHashValue,
    repository::Repository,
    tree::{Directory, FileSystem, Inode, LeafContent, RegularFile, Stat},
};

use super::state::{self, Found};
use crate::tree::{self, Objects};

/// Puts a deployment's `/etc` in place, and records that.
///
/// # Crash
/// The old `/etc` or the new one, and perhaps a folder `etc.new` that the next run replaces.
pub(crate) fn finalize<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    id: &DeploymentId,
) -> Result<MergeReport> {
    let mut found = state::get(context, id)?;
    let source = match found.origin.merge_from.clone().map(|from| state::get(context, &from)).transpose() {
        // Merged long ago, and the source was cleaned up since.
        Err(error) if error.kind() == ErrorKind::NotFound && found.origin.deployment.finalized => {
            return Ok(MergeReport::default());
        }
        other => other?,
    };
    let shared = source.as_ref().is_some_and(|source| source.root == found.root);
    let booted = state::booted_root(context)?.is_some_and(|root| root == found.root);
    // The same root means the same folder: what is in it is what a merge would give.
    let report = if shared || booted {
        MergeReport::default()
    } else {
        merge_etc(context, repo, &found.root, source.as_ref())?
    };
    found.origin.deployment.finalized = true;
    state::write(context, &found)?;
    Ok(report)
}

fn merge_etc<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    root: &str,
    source: Option<&Found>,
) -> Result<MergeReport> {
    let objects = Objects::of(context, repo)?;
    let new = image_etc(&tree::read_image(repo, root)?, &objects)?;
    let (result, report) = match source {
        None => (new, MergeReport::default()),
        Some(source) => {
            let base = image_etc(&tree::read_image(repo, &source.root)?, &objects)?;
            let local = scan(&context.sysroot.sub(&format!("{}/etc", state::folder(&source.root)))?)?;
            merge(&base, &local, &new)
        }
    };
    put_in_place(&result, &context.sysroot, &format!("{}/etc", state::folder(root)))?;
    Ok(report)
}

/// The `/etc` of an image.
///
/// # Errors
/// `InvalidInput` if the image has none.
fn image_etc<H: FsVerityHashValue>(tree: &FileSystem<H>, objects: &Arc<Objects>) -> Result<EtcTree> {
    let etc = subtree(tree, "etc", objects)?
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the image has no folder /etc"))?;
    Ok(etc.without_build_leftovers())
}

/// The folder `name` at the top of an image, with everything in it. `None` if it is not there.
pub(crate) fn subtree<H: FsVerityHashValue>(
    tree: &FileSystem<H>,
    name: &str,
    objects: &Arc<Objects>,
) -> Result<Option<EtcTree>> {
    let Some(Inode::Directory(top)) = tree.root.lookup(name.as_ref()) else { return Ok(None) };
    let mut copy = EtcTree::new(metadata(&top.stat));
    fill(&mut copy, tree, top, Path::new(""), objects)?;
    Ok(Some(copy))
}

fn fill<H: FsVerityHashValue>(
    copy: &mut EtcTree,
    tree: &FileSystem<H>,
    folder: &Directory<H>,
    path: &Path,
    objects: &Arc<Objects>,
) -> Result<()> {
    for (name, inode) in folder.entries() {
        let path = path.join(name);
        match inode {
            Inode::Directory(sub) => {
                copy.insert(&path, Node::directory(metadata(&sub.stat)))?;
                fill(copy, tree, sub, &path, objects)?;
            }
            Inode::Leaf(id, _) => {
                let leaf = tree
                    .leaves
                    .get(id.0)
                    .ok_or_else(|| Error::integrity("a file of the image has no content"))?;
                let kind = kind(&leaf.content, objects)?;
                copy.insert(&path, Node { kind, metadata: metadata(&leaf.stat) })?;
            }
        }
    }
    Ok(())
}

fn kind<H: FsVerityHashValue>(content: &LeafContent<H>, objects: &Arc<Objects>) -> Result<NodeKind> {
    Ok(match content {
        LeafContent::Regular(RegularFile::Inline(bytes)) => {
            NodeKind::File(FileContent::from_bytes(bytes.as_ref()))
        }
        LeafContent::Regular(file) => {
            let (file, objects) = (file.clone(), Arc::clone(objects));
            NodeKind::File(FileContent::measure(Content::stored(move || objects.reader(&file)))?)
        }
        LeafContent::Symlink(target) => NodeKind::Symlink(target.as_ref().to_owned()),
        LeafContent::Fifo => NodeKind::Special(Special::Fifo),
        LeafContent::Socket => NodeKind::Special(Special::Socket),
        LeafContent::CharacterDevice(number) => NodeKind::Special(Special::CharDevice(*number)),
        LeafContent::BlockDevice(number) => NodeKind::Special(Special::BlockDevice(*number)),
    })
}

fn metadata(stat: &Stat) -> Metadata {
    let is_overlay = |name: &[u8]| name.starts_with(b"trusted.overlay.");
    Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        xattrs: stat
            .xattrs
            .iter()
            .filter(|(name, _)| !is_overlay(name.as_bytes()))
            .map(|(name, value)| (name.as_ref().to_owned(), value.to_vec()))
            .collect(),
        protection: Protection::default(),
        mtime: Some((stat.st_mtim_sec, stat.st_mtim_nsec)),
    }
}
