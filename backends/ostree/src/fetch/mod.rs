//! Images in the repository.
#![expect(clippy::unused_async, clippy::unnecessary_wraps, reason = "as importing will need it")]

use std::collections::BTreeSet;

use bootwright_core::{
    backend::FetchEstimate,
    error::{Error, ErrorKind, Result},
    fs::Root,
    model::{Digest, ImageSummary, PinnedImage, Progress},
};
use ostree_ext::{gio::Cancellable, ostree};

use crate::catalogue::GlibContext as _;

/// What fetching would cost.
pub(crate) fn estimate(_store: &Root, _image: &ImageSummary) -> Result<FetchEstimate> {
    Ok(FetchEstimate::default())
}

/// Brings an image into the repository.
pub(crate) async fn fetch(
    _store: &Root,
    _image: &ImageSummary,
    _progress: &dyn Progress,
) -> Result<PinnedImage> {
    Err(Error::unsupported("this build cannot import images"))
}

fn ref_of(digest: &Digest) -> String {
    format!("bootwright/image/{}", digest.as_str().replace(':', "_"))
}

/// The commit of a fetched image.
pub(crate) fn image_commit(repo: &ostree::Repo, digest: &Digest) -> Result<Option<String>> {
    let found = repo.resolve_rev(&ref_of(digest), true);
    Ok(found.or_kind(ErrorKind::Io, || "look for the image".to_owned())?.map(Into::into))
}

/// Forgets the images that are not in `keep`.
pub(crate) fn retain(repo: &ostree::Repo, keep: &BTreeSet<Digest>) -> Result<()> {
    let keep: BTreeSet<_> = keep.iter().map(ref_of).collect();
    let what = || "list images".to_owned();
    let refs = repo
        .list_refs_ext(Some("bootwright/image"), ostree::RepoListRefsExtFlags::NONE, Cancellable::NONE)
        .or_kind(ErrorKind::Io, what)?;
    for name in refs.keys().filter(|name| !keep.contains(*name)) {
        repo.set_ref_immediate(None, name, None, Cancellable::NONE).or_kind(ErrorKind::Io, what)?;
    }
    Ok(())
}
