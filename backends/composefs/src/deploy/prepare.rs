//! Making a deployment out of an image that is in the repository.

use std::sync::Arc;

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    model::{
        BootArtifacts, DeploySpec, Deployment, DeploymentId, KernelArtifacts, KernelCmdline, PinnedImage,
        Stateroot,
    },
};
use composefs::{
    erofs::format::FormatVersion, fsverity::FsVerityHashValue, generic_tree::OciTransformOptions,
    repository::Repository, tree::FileSystem,
};
use composefs_oci::{BootImageMatch, OciImage, find_matching_boot_image, generate_boot_image};

use super::{
    kernel::{self, Kernel},
    refs,
    state::{self, Found},
    var,
};
use crate::{
    errors::LibraryContext,
    merge,
    origin::Origin,
    repo,
    roots::RootArg,
    tree::{Objects, names},
};

/// Materialises a deployment; see `StorageBackend::prepare`.
///
/// # Crash
/// Before the origin file: a folder that nothing names. After it: the deployment.
pub(crate) fn prepare<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    spec: &DeploySpec,
) -> Result<Deployment> {
    let verified = repo::verified(context, repo)?;
    let image = refs::open(repo, &spec.image.manifest_digest, None)?;
    let objects = Objects::of(context, repo)?;
    let tree = layers(repo, &image)?;
    check_folders(&tree)?;
    let kernel = kernel::find(&tree, &objects)?;
    let root = choose_root(context, repo, &image, &kernel, verified)?;
    let found = describe(context, spec, kernel, &root, verified)?;
    if spec.merge_from.is_none() {
        var::seed(context, &spec.stateroot, &tree, &objects)?;
    }
    record(context, repo, &image, &found)?;
    Ok(found.origin.deployment)
}

/// The argument of an image's root in the usual format; see `StorageBackend::root_args`.
pub(crate) fn root_args<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    image: &PinnedImage,
) -> Result<KernelCmdline> {
    let verified = repo::verified(context, repo)?;
    let image = refs::open(repo, &image.manifest_digest, None)?;
    check_folders(&layers(repo, &image)?)?;
    Ok([usual_root(repo, &image, verified)?.to_arg()?].into_iter().collect())
}

fn usual_root<H: FsVerityHashValue>(
    repo: &Arc<Repository<H>>,
    image: &OciImage<H>,
    verified: bool,
) -> Result<RootArg> {
    let id = generate_boot_image(repo, image.manifest_digest(), &OciTransformOptions::default())
        .context(|| "write the boot image".to_owned())?;
    Ok(RootArg::new(H::ALGORITHM, repo.erofs_version(), id.to_hex(), !verified))
}

/// The tree of an image as its layers have it, `/boot` included.
fn layers<H: FsVerityHashValue>(repo: &Repository<H>, image: &OciImage<H>) -> Result<FileSystem<H>> {
    merge::image(repo, image)
        .or_kind(ErrorKind::InvalidInput, || "put the layers of the image together".to_owned())
}

/// Early boot mounts over these, and the digest is computed with the last two emptied.
fn check_folders<H: FsVerityHashValue>(tree: &FileSystem<H>) -> Result<()> {
    let top = names(tree, "");
    let missing: Vec<_> = ["usr", "etc", "var", "boot", "sysroot"]
        .into_iter()
        .filter(|name| !top.iter().any(|n| n == name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("the image lacks the folder /{}", missing.join(", /")))
        .with_hint("create it in the image, empty if it is a mount point"))
}

/// The root argument of the deployment: the one that a UKI names, if it is this tree; else that of the usual format.
fn choose_root<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    image: &OciImage<H>,
    kernel: &Kernel,
    verified: bool,
) -> Result<RootArg> {
    context.sysroot.faults().before("write the boot image")?;
    match &kernel.artifacts {
        KernelArtifacts::Split { .. } => usual_root(repo, image, verified),
        KernelArtifacts::Unified { embedded, .. } => {
            let named = named_by(embedded)?;
            check_demand(&named, verified)?;
            match_root(repo, image, named)
        }
    }
}

/// The one root that a UKI names.
fn named_by(embedded: &KernelCmdline) -> Result<RootArg> {
    let broken = |message: String| {
        Error::integrity(message).with_hint("seal the UKI again with the digest of this very image")
    };
    let all = RootArg::all(embedded).map_err(|error| broken(error.message().to_owned()))?;
    let (first, rest) =
        all.split_first().ok_or_else(|| broken("the UKI in the image names no composefs root".to_owned()))?;
    if rest.iter().any(|other| (&other.hex, other.optional) != (&first.hex, first.optional)) {
        return Err(broken("the UKI in the image names several roots".to_owned()));
    }
    Ok(first.clone())
}

/// What a UKI demands cannot be changed from here: it must be what this system can give, and not less than it wants.
fn check_demand(named: &RootArg, verified: bool) -> Result<()> {
    match (named.optional, verified) {
        (false, false) => Err(Error::unsupported(
            "the UKI in the image demands fs-verity, and this repository was made without it",
        )
        .with_hint("install on a file system with fs-verity, or seal the UKI with `?` before the digest")),
        (true, true) => {
            Err(Error::unsupported("the UKI in the image lets its root be mounted without fs-verity")
                .with_hint(
                    "seal the UKI without `?` before the digest, or install with --allow-missing-verity",
                ))
        }
        _ => Ok(()),
    }
}

fn match_root<H: FsVerityHashValue>(
    repo: &Arc<Repository<H>>,
    image: &OciImage<H>,
    named: RootArg,
) -> Result<RootArg> {
    if !named.algorithm.is_compatible::<H>() {
        return Err(Error::unsupported(format!(
            "the UKI in the image was sealed with {}, and this repository uses {}",
            named.algorithm.hash_name(),
            H::ALGORITHM.hash_name()
        ))
        .with_hint(format!("seal it with {}", H::ALGORITHM.hash_name())));
    }
    let expected = H::from_hex(&named.hex)
        .map_err(|error| Error::integrity("read the UKI's digest").with_source(error))?;
    let found = find_matching_boot_image(repo, image.manifest_digest(), &expected)
        .context(|| "write the boot image".to_owned())?;
    match found {
        BootImageMatch::Found { version, .. } if (version == FormatVersion::V2) == (named.format == 2) => {
            Ok(named)
        }
        _ => Err(Error::integrity(format!("the UKI in the image names another root: {}", named.hex))
            .with_hint(
                "seal the UKI again: something in the image was changed after its digest was computed",
            )),
    }
}

fn describe(
    context: &BackendContext,
    spec: &DeploySpec,
    kernel: Kernel,
    root: &RootArg,
    verified: bool,
) -> Result<Found> {
    let id = DeploymentId::new(match &kernel.artifacts {
        KernelArtifacts::Split { .. } => root.hex.clone(),
        KernelArtifacts::Unified { uki, .. } => format!("{}-{}", root.hex, uki.sha256.short()),
    })?;
    // Preparing what exists returns it: what has an /etc still has it. It is merged anew from the source that is named now.
    let finalized = state::get(context, &id).is_ok_and(|known| known.origin.deployment.finalized);
    let deployment = Deployment {
        id,
        stateroot: spec.stateroot.clone(),
        image: spec.image.clone(),
        origin: spec.origin.clone(),
        finalized,
        verified,
        pinned_by_store: false,
    };
    let origin = Origin {
        deployment,
        merge_from: spec.merge_from.clone(),
        boot_type: kernel.boot_type,
        boot_digest: kernel.digest,
        root_args: root.to_arg()?.to_string(),
        kernel: Some(kernel.artifacts),
    };
    Ok(Found { root: root.hex.clone(), origin })
}

fn record<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    image: &OciImage<H>,
    found: &Found,
) -> Result<()> {
    refuse_other_stateroot(context, found)?;
    var::link(context, &found.root, &found.origin.deployment.stateroot)?;
    context.sysroot.faults().before("name the deployment's image")?;
    composefs_oci::tag_image(repo, image.manifest_digest(), &refs::deployment(found.id()))
        .context(|| "name the deployment's image".to_owned())?;
    context.sysroot.sync_filesystem()?;
    state::write(context, found)
}

/// Deployments of one root share a folder, and so the link to `/var` in it.
fn refuse_other_stateroot(context: &BackendContext, found: &Found) -> Result<()> {
    let ours: &Stateroot = &found.origin.deployment.stateroot;
    let others = state::all(context)?;
    let other = others.iter().find(|o| o.root == found.root && &o.origin.deployment.stateroot != ours);
    match other {
        None => Ok(()),
        Some(other) => Err(Error::unsupported(format!(
            "this tree is deployed in the stateroot {} already",
            other.origin.deployment.stateroot
        ))
        .with_hint("use that stateroot, or remove the deployment there first")),
    }
}

/// Kernel and root arguments of a deployment.
pub(crate) fn boot_artifacts<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    id: &DeploymentId,
) -> Result<BootArtifacts> {
    let found = state::get(context, id)?;
    let origin = found.origin;
    let recorded: KernelCmdline = origin.root_args.parse()?;
    if let (Some(kernel), false) = (origin.kernel, recorded.is_empty()) {
        return Ok(BootArtifacts { kernel, root_args: recorded });
    }
    // Another tool made it.
    let verified = repo::verified(context, repo)?;
    let image = refs::open(repo, &origin.deployment.image.manifest_digest, Some(id))?;
    let kernel = kernel::find(&layers(repo, &image)?, &*Objects::of(context, repo)?)?;
    let root = choose_root(context, repo, &image, &kernel, verified)?;
    if root.hex != found.root {
        return Err(Error::integrity(format!(
            "the image of deployment {id} has another root than its folder says"
        )));
    }
    Ok(BootArtifacts { kernel: kernel.artifacts, root_args: [root.to_arg()?].into_iter().collect() })
}
