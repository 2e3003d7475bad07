//! Making a deployment known, out of an image that is in the repository: nothing is checked out yet.
//!
//! Checking it out needs an `/etc`, which is merged at shutdown, and a place in libostree's catalogue, which must not change before.

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    image_kernel,
    model::{BootArtifacts, DeploySpec, Deployment, DeploymentId},
};
use ostree_ext::{gio::Cancellable, ostree};

use super::{
    booted,
    files::CommitFiles,
    kernel,
    record::{self, Record},
    var,
};
use crate::{
    catalogue::{Catalogue, Link},
    errors::LibraryContext as _,
    fetch,
    repo::Store,
    verified::{early_boot, store},
};

/// The ref that keeps a deployment's commit.
pub(crate) fn ref_of(id: &DeploymentId) -> String {
    format!("{REFS}/{id}")
}

/// Where such refs are.
pub(crate) const REFS: &str = "bootwright/deployment";

/// Makes a deployment known; see `StorageBackend::prepare`.
///
/// # Crash
/// Before the record: a ref that `retain` removes. After it: the deployment.
pub(crate) fn prepare(context: &BackendContext, spec: &DeploySpec) -> Result<Deployment> {
    let repo = Store::new(context.sysroot.clone()).open()?;
    let commit = image_commit(&repo, spec)?;
    let files = CommitFiles::open(context, &repo, &commit)?;
    check_folders(&files)?;
    let verified = store::is_verified(&repo);
    early_boot::check(&files, verified)?;
    let found = image_kernel::find(&files)?;
    let id = DeploymentId::new(commit.clone())?;
    refuse_other_stateroot(context, &id, spec)?;
    context.sysroot.faults().before("commit what will be deployed")?;
    let deployed = kernel::deployable(&repo, &files, &commit, &found)?;
    let boot_checksum = kernel::boot_checksum(&CommitFiles::open(context, &repo, &deployed)?)?;
    if spec.merge_from.is_none() {
        var::seed(context, &repo, &files, &commit, &spec.stateroot)?;
    }
    var::ensure(context, &spec.stateroot)?;
    name(context, &repo, &id, &deployed)?;
    let record = Record {
        deployment: describe(id, spec, verified),
        merge_from: spec.merge_from.clone(),
        commit: deployed,
        kernel: found.artifacts,
        boot_checksum,
    };
    context.sysroot.sync_filesystem()?;
    record::write(context, &record)?;
    Ok(with_state(&Catalogue::open(context)?, record))
}

fn image_commit(repo: &ostree::Repo, spec: &DeploySpec) -> Result<String> {
    let digest = &spec.image.manifest_digest;
    fetch::image_commit(repo, digest)?.ok_or_else(|| {
        Error::not_found(format!("the image {digest} is not in the OSTree store")).with_hint("fetch it first")
    })
}

/// Early boot mounts over these.
fn check_folders(files: &CommitFiles<'_>) -> Result<()> {
    let mut missing = Vec::new();
    for name in ["usr", "etc", "var", "sysroot"] {
        if !files.is_folder(name)? {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("the image lacks the folder /{}", missing.join(", /")))
        .with_hint("create it in the image, empty if it is a mount point"))
}

/// A deployment is one folder, below one stateroot.
fn refuse_other_stateroot(context: &BackendContext, id: &DeploymentId, spec: &DeploySpec) -> Result<()> {
    match record::find(context, id)?.map(|known| known.deployment.stateroot) {
        Some(other) if other != spec.stateroot => {
            Err(Error::unsupported(format!("this tree is deployed in the stateroot {other} already"))
                .with_hint("use that stateroot, or remove the deployment there first"))
        }
        _ => Ok(()),
    }
}

/// Keeps the commit from being pruned, whatever becomes of the image's own ref.
fn name(context: &BackendContext, repo: &ostree::Repo, id: &DeploymentId, commit: &str) -> Result<()> {
    let name = ref_of(id);
    let what = || format!("write the ref {name}");
    if repo.resolve_rev(&name, true).or_kind(ErrorKind::Io, what)?.as_deref() == Some(commit) {
        return Ok(());
    }
    context.sysroot.faults().before(&what())?;
    repo.set_ref_immediate(None, &name, Some(commit), Cancellable::NONE).or_kind(ErrorKind::Io, what)
}

fn describe(id: DeploymentId, spec: &DeploySpec, verified: bool) -> Deployment {
    Deployment {
        id,
        stateroot: spec.stateroot.clone(),
        image: spec.image.clone(),
        origin: spec.origin.clone(),
        finalized: false,
        verified,
        pinned_by_store: false,
    }
}

/// A record's deployment, finalised if it is in the catalogue, and pinned if it is there.
fn with_state(catalogue: &Catalogue<'_>, record: Record) -> Deployment {
    let entry = catalogue.entry_of(&record.commit);
    let pinned_by_store = entry.as_ref().is_some_and(|entry| entry.pinned);
    Deployment { finalized: entry.is_some(), pinned_by_store, ..record.deployment }
}

/// Every deployment of ours.
pub(crate) fn deployments(context: &BackendContext) -> Result<Vec<Deployment>> {
    let records = record::all(context)?;
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let catalogue = Catalogue::open(context)?;
    let mut all: Vec<_> = records.into_iter().map(|record| with_state(&catalogue, record)).collect();
    // An initramfs may have had other orders than the tree that it came with.
    if all.iter().any(|deployment| deployment.verified) && !booted::verifies(context) {
        let running = booted::now(context)?.map(|running| running.id);
        let started = all.iter_mut().filter(|deployment| running.as_ref() == Some(&deployment.id));
        started.for_each(|deployment| deployment.verified = false);
    }
    Ok(all)
}

/// Kernel and root arguments of a deployment. Of one that is not finalised, the root arguments are those that its finalisation will give it, if
/// nothing else is finalised first.
pub(crate) fn boot_artifacts(context: &BackendContext, id: &DeploymentId) -> Result<BootArtifacts> {
    let record = record::get(context, id)?;
    let catalogue = Catalogue::open(context)?;
    let link = match catalogue.entry_of(&record.commit).map(|entry| entry.link) {
        Some(Some(link)) => link,
        Some(None) => {
            return Err(Error::integrity(format!("libostree's entry of {id} does not say how it boots")));
        }
        None => {
            let stateroot = record.deployment.stateroot.as_str();
            Link::first(catalogue.next_slot()?, stateroot, &record.boot_checksum)
        }
    };
    Ok(BootArtifacts { kernel: record.kernel, root_args: link.to_args()? })
}
