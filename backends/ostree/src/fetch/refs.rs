//! Names in the repository: one for each image, one for each layer.
//!
//! A name is set last, when all that it stands for is on the disk. So a name that is there stands for something whole.

use std::collections::BTreeSet;

use bootwright_core::{error::Result, model::Digest};
use ostree_ext::{gio, glib, ostree};

use crate::errors::LibraryContext;

const ALL: &str = "bootwright";
const IMAGES: &str = "bootwright/image/";
const LAYERS: &str = "bootwright/layer/";
/// Key of an image's commit: the names of its layers.
pub(super) const LAYERS_KEY: &str = "bootwright.layers";

/// The name of an image. Names may not hold a colon.
pub(crate) fn image(manifest: &Digest) -> String {
    format!("{IMAGES}{}", manifest.as_str().replace(':', "_"))
}

/// The name of a layer. It goes by content, so that it does not matter how a layer was compressed.
pub(super) fn layer(diff_id: &Digest) -> String {
    format!("{LAYERS}{}", diff_id.as_str().replace(':', "_"))
}

/// The commit with this name, if it is there.
pub(super) fn commit(repo: &ostree::Repo, name: &str) -> Result<Option<String>> {
    let what = || format!("look up {name}");
    let Some(commit) = repo.resolve_rev(name, true).context(what)? else { return Ok(None) };
    let there = repo.has_object(ostree::ObjectType::Commit, &commit, gio::Cancellable::NONE).context(what)?;
    Ok(there.then(|| commit.into()))
}

/// Gives a commit a name.
pub(super) fn set(repo: &ostree::Repo, name: &str, commit: &str) -> Result<()> {
    repo.set_ref_immediate(None, name, Some(commit), gio::Cancellable::NONE)
        .context(|| format!("name a commit {name}"))
}

/// Removes the names of all images but these, and of all layers that none of these needs. Objects stay until the repository is pruned.
pub(crate) fn retain(repo: &ostree::Repo, keep: &BTreeSet<Digest>) -> Result<()> {
    let names = repo
        .list_refs_ext(Some(ALL), ostree::RepoListRefsExtFlags::NONE, gio::Cancellable::NONE)
        .context(|| "list what is in the repository".to_owned())?;
    let images: BTreeSet<String> = keep.iter().map(image).collect();
    let mut needed = BTreeSet::new();
    for (_, commit) in names.iter().filter(|(name, _)| images.contains(*name)) {
        needed.extend(layers_of(repo, commit)?);
    }
    for name in names.keys() {
        let unwanted = (name.starts_with(IMAGES) && !images.contains(name))
            || (name.starts_with(LAYERS) && !needed.contains(name));
        if unwanted {
            repo.set_ref_immediate(None, name, None, gio::Cancellable::NONE)
                .context(|| format!("remove the name {name}"))?;
        }
    }
    Ok(())
}

/// The names of an image's layers.
fn layers_of(repo: &ostree::Repo, commit: &str) -> Result<Vec<String>> {
    let (object, _) = repo.load_commit(commit).context(|| format!("read commit {commit}"))?;
    let metadata = glib::VariantDict::new(Some(&object.child_value(0)));
    Ok(metadata.lookup::<Vec<String>>(LAYERS_KEY).ok().flatten().unwrap_or_default())
}
