//! Clean-up: deployments that nobody keeps, and what only they needed.
//!
//! Order matters after a crash: a deployment first loses its origin file, so that it is gone for everybody; then the name that keeps its
//! image; then its folder; and objects last. Before objects go, the repository forgets every layer that will lose some: a layer that is still
//! listed counts as whole when an image is fetched.

use std::{collections::BTreeSet, sync::Arc};

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, IoContext, Result},
    model::{DeploymentId, Removed},
};
use composefs::{fsverity::FsVerityHashValue, repository::Repository};
use composefs_oci::{OciDigest, OciImage, layer_content_id, oci_image::manifest_identifier};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::{
    deploy::{
        refs::{self, Owner},
        state::{self, Found},
    },
    errors::LibraryContext,
};

/// Names of streams that images consist of (composefs-oci, `lib.rs` and `oci_image.rs`); others are not ours to forget.
const IMAGE_STREAMS: [&str; 3] = ["oci-manifest-", "oci-config-", "oci-layer-"];
/// What a deployment's folder may hold besides origin files.
const STATE_ENTRIES: [&str; 3] = ["etc", "etc.new", "var"];

/// Deletes what `keep` does not need; see `StorageBackend::retain`.
pub(crate) fn retain<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    keep: &BTreeSet<DeploymentId>,
) -> Result<Removed> {
    if keep.is_empty() {
        return Err(Error::invalid("a clean-up that keeps nothing would leave a machine that cannot boot")
            .with_hint("name at least one deployment to keep"));
    }
    let (kept, dropped) = split(context, keep)?;
    let mut removed = Removed::default();
    for found in &dropped {
        state::remove(context, found)?;
        removed.items.push(format!("deployment {}", found.id()));
    }
    context.sysroot.sync_filesystem()?;
    removed.items.extend(drop_names(context, repo, &kept)?);
    drop_folders(context, &kept)?;
    collect(context, repo, &kept, &mut removed)?;
    context.sysroot.sync_filesystem()?;
    Ok(removed)
}

/// What stays and what goes. What the running system was started from stays, whatever `keep` says (invariant I1).
fn split(context: &BackendContext, keep: &BTreeSet<DeploymentId>) -> Result<(Vec<Found>, Vec<Found>)> {
    let all = state::all(context)?;
    let booted = state::booted_root(context)?;
    let named_root = |root: &str| all.iter().any(|found| found.root == root && keep.contains(found.id()));
    let unnamed_but_booted = booted.filter(|root| !named_root(root));
    Ok(all
        .iter()
        .cloned()
        .partition(|found| keep.contains(found.id()) || unnamed_but_booted.as_ref() == Some(&found.root)))
}

/// Removes our names of images that are not kept. Returns what that gives up, for people.
fn drop_names<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    kept: &[Found],
) -> Result<Vec<String>> {
    for found in kept {
        ensure_named(context, repo, found)?;
    }
    let mut given_up = Vec::new();
    for (name, digest) in refs::list(repo)? {
        match refs::owner(&name) {
            Owner::Deployment(id) if kept.iter().any(|found| found.id().as_str() == id) => continue,
            Owner::Foreign => continue,
            Owner::Deployment(_) => {}
            Owner::Fetched => given_up.push(format!("name of the fetched image {digest}")),
        }
        context.sysroot.faults().before(&format!("remove the name {name}"))?;
        composefs_oci::untag_image(repo, &name).context(|| format!("remove the name {name}"))?;
    }
    Ok(given_up)
}

/// A deployment that another tool made has no name of ours yet.
fn ensure_named<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    found: &Found,
) -> Result<()> {
    let name = refs::deployment(found.id());
    if refs::list(repo)?.iter().any(|(known, _)| known == &name) {
        return Ok(());
    }
    let image = match refs::open(repo, &found.origin.deployment.image.manifest_digest, None) {
        Ok(image) => image,
        Err(error) => {
            // Its root image is kept all the same, see `collect`.
            tracing::warn!("the image of deployment {} is not whole: {error}", found.id());
            return Ok(());
        }
    };
    context.sysroot.faults().before(&format!("name the image of {}", found.id()))?;
    composefs_oci::tag_image(repo, image.manifest_digest(), &name)
        .context(|| format!("name the image of {}", found.id()))
}

/// Removes origin files that were being written, and folders that no deployment uses, and that hold nothing but what we put there.
fn drop_folders(context: &BackendContext, kept: &[Found]) -> Result<()> {
    for root in state::folders(context)? {
        let path = state::folder(&root);
        context.sysroot.remove_half_written(&path)?;
        let used = kept.iter().any(|found| found.root == root);
        let is_ours = |name: &String| STATE_ENTRIES.contains(&name.as_str());
        if !used && context.sysroot.list(&path)?.iter().all(is_ours) {
            context.sysroot.remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn collect<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    kept: &[Found],
    removed: &mut Removed,
) -> Result<()> {
    forget_streams(context, repo)?;
    context.sysroot.sync_filesystem()?;
    context.sysroot.faults().before("remove unused objects")?;
    let roots: Vec<_> = kept.iter().map(|found| found.root.as_str()).collect();
    let result = repo.gc(&roots).context(|| "remove unused objects".to_owned())?;
    removed.bytes += result.objects_bytes;
    if result.objects_removed > 0 {
        removed.items.push(format!("{} objects", result.objects_removed));
    }
    Ok(())
}

/// Makes the repository forget manifests, configurations and layers that no name leads to.
fn forget_streams<H: FsVerityHashValue>(context: &BackendContext, repo: &Repository<H>) -> Result<()> {
    let live = live_streams(repo)?;
    let what = || "list the streams of the repository".to_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(repo.repo_fd(), "streams", flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::io(what(), errno.into())),
    };
    let mut dead = Vec::new();
    for entry in rustix::fs::Dir::read_from(&folder).context_io(what)? {
        let name = entry.context_io(what)?.file_name().to_string_lossy().into_owned();
        if IMAGE_STREAMS.iter().any(|prefix| name.starts_with(prefix)) && !live.contains(&name) {
            dead.push(name);
        }
    }
    dead.sort();
    for name in dead {
        context.sysroot.faults().before(&format!("forget the stream {name}"))?;
        rustix::fs::unlinkat(&folder, &name, AtFlags::empty())
            .context_io(|| format!("forget the stream {name}"))?;
    }
    Ok(())
}

fn live_streams<H: FsVerityHashValue>(repo: &Repository<H>) -> Result<BTreeSet<String>> {
    let mut live = BTreeSet::new();
    for (name, _) in refs::list(repo)? {
        let image = OciImage::open_ref(repo, &name)
            .or_kind(ErrorKind::Integrity, || format!("open the image {name}"))?;
        live.extend(streams_of(&image)?);
    }
    Ok(live)
}

/// The streams that an image consists of.
pub(crate) fn streams_of<H: FsVerityHashValue>(image: &OciImage<H>) -> Result<Vec<String>> {
    let mut streams =
        vec![manifest_identifier(image.manifest_digest()), format!("oci-config-{}", image.config_digest())];
    for layer in image.layer_refs().keys() {
        let digest: OciDigest =
            layer.parse().or_kind(ErrorKind::Integrity, || format!("read the layer's digest {layer}"))?;
        streams.push(layer_content_id(&digest));
    }
    Ok(streams)
}
