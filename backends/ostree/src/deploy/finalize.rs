//! Finalisation: check-out, `/etc`, and a new list in the slot that nothing published uses.

use std::time::{SystemTime, UNIX_EPOCH};

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    etc_merge::MergeReport,
    model::DeploymentId,
};
use ostree_ext::{
    gio::Cancellable,
    glib,
    ostree::{self, Deployment},
};

use super::{
    booted, etc,
    origin::origin,
    record::{self, Record},
};
use crate::catalogue::{
    Catalogue,
    freeze::without_freezing,
    unpublished::{self, Note},
};
use crate::errors::LibraryContext as _;
use crate::verified::IMAGE;

/// Puts a deployment and its `/etc` in place; see `StorageBackend::finalize`.
///
/// # Crash
/// Links of the published slot are never written. Before the list: a folder that nothing names, which `retain` removes. After it: a list that
/// is in force once boot entries are published; if they never are, the next finalisation starts from the published one again.
pub(crate) fn finalize(context: &BackendContext, id: &DeploymentId) -> Result<MergeReport> {
    let record = record::get(context, id)?;
    let mut catalogue = Catalogue::open_locked(context)?;
    let newest = catalogue.sysroot.deployments();
    if stays(context, &record, &newest)? {
        return Ok(MergeReport::default());
    }
    catalogue.turn_back()?;
    let known = union(catalogue.sysroot.deployments(), newest);
    let source = source(context, &catalogue, &record, &known)?;
    unpublished::write(context, Note { published: catalogue.slot()? })?;
    // The folder that it has by now, with the pin in its origin, is replaced.
    let pinned = known.iter().any(|other| other.csum() == record.commit && other.is_pinned());
    let origin = origin(&record.deployment, pinned);
    let (deployed, report) = check_out(context, &catalogue, &record, &origin, source.as_deref())?;
    let rest = known.into_iter().filter(|other| other.csum() != record.commit);
    let list: Vec<_> = std::iter::once(deployed).chain(rest).collect();
    write_list(context, &catalogue, &list)?;
    Ok(report)
}

/// What runs keeps its `/etc`, so does what would merge its own, and what was merged long ago from a source that was cleaned up since.
fn stays(context: &BackendContext, record: &Record, newest: &[Deployment]) -> Result<bool> {
    if !contains(newest, &record.commit) {
        return Ok(false);
    }
    let gone = |from: &DeploymentId| record::find(context, from).map(|found| found.is_none());
    let source_gone = record.merge_from.as_ref().map(gone).transpose()?.unwrap_or(false);
    let runs = booted::now(context)?.is_some_and(|running| &running.id == record.id());
    Ok(runs || source_gone || record.merge_from.as_ref() == Some(record.id()))
}

fn contains(list: &[Deployment], commit: &str) -> bool {
    list.iter().any(|deployed| deployed.csum() == commit)
}

/// What is published, and then what was finalised after it and is not.
fn union(published: Vec<Deployment>, newest: Vec<Deployment>) -> Vec<Deployment> {
    let mut known = published;
    for deployed in newest {
        if !contains(&known, &deployed.csum()) {
            known.push(deployed);
        }
    }
    known
}

/// The folder whose `/etc` is merged.
fn source(
    context: &BackendContext,
    catalogue: &Catalogue<'_>,
    record: &Record,
    known: &[Deployment],
) -> Result<Option<String>> {
    let Some(from) = &record.merge_from else { return Ok(None) };
    let source = record::get(context, from)?;
    let deployed = known.iter().find(|deployed| deployed.csum() == source.commit).ok_or_else(|| {
        Error::not_found(format!("the deployment {from}, whose /etc is to be merged, was never finalised"))
            .with_hint("run the upgrade again from the system that runs now")
    })?;
    Ok(Some(catalogue.sysroot.deployment_dirpath(deployed).into()))
}

fn check_out(
    context: &BackendContext,
    catalogue: &Catalogue<'_>,
    record: &Record,
    origin: &glib::KeyFile,
    source: Option<&str>,
) -> Result<(Deployment, MergeReport)> {
    let sysroot = &catalogue.sysroot;
    let faults = context.sysroot.faults();
    let what = || format!("check out the deployment {}", record.id());
    let unique = unique_argument(record.id());
    let arguments = [unique.as_str()];
    let options =
        ostree::SysrootDeployTreeOpts { override_kernel_argv: Some(&arguments), ..Default::default() };
    let stateroot = record.deployment.stateroot.as_str();
    faults.before(&what())?;
    let deployed = sysroot
        .deploy_tree_with_options(
            Some(stateroot),
            &record.commit,
            Some(origin),
            None,
            Some(&options),
            Cancellable::NONE,
        )
        .or_kind(ErrorKind::Io, what)?;
    let folder = sysroot.deployment_dirpath(&deployed);
    if record.deployment.verified && !context.sysroot.exists(&format!("{folder}/{IMAGE}")) {
        return Err(Error::unsupported(format!(
            "libostree made no image for the kernel to verify ({folder}/{IMAGE})"
        ))
        .with_hint("upgrade by an image whose libostree is built with composefs"));
    }
    set_mutable(context, sysroot, &deployed, true)?;
    let report = match source {
        None => etc::fresh(context, &folder)?,
        Some(source) => etc::merged(context, &folder, source)?,
    };
    set_mutable(context, sysroot, &deployed, false)?;
    context.sysroot.sync_filesystem()?;
    Ok((deployed, report))
}

/// libostree writes a list in place where no kernel and no arguments changed: then links would move that boot.
fn unique_argument(id: &DeploymentId) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bootwright.deployment={id}.{}", now.as_nanos())
}

fn set_mutable(
    context: &BackendContext,
    sysroot: &ostree::Sysroot,
    deployed: &Deployment,
    mutable: bool,
) -> Result<()> {
    let what =
        || format!("make a new deployment's folder {}", if mutable { "writable" } else { "immutable" });
    context.sysroot.faults().before(&what())?;
    sysroot.deployment_set_mutable(deployed, mutable, Cancellable::NONE).or_kind(ErrorKind::Io, what)
}

fn write_list(context: &BackendContext, catalogue: &Catalogue<'_>, list: &[Deployment]) -> Result<()> {
    let what = || "write libostree's catalogue of deployments".to_owned();
    // Cleaning up is for when the new list is published.
    let options = ostree::SysrootWriteDeploymentsOpts { do_postclean: false };
    context.sysroot.faults().before(&what())?;
    let write = || catalogue.sysroot.write_deployments_with_options(list, &options, Cancellable::NONE);
    without_freezing(write)?.or_kind(ErrorKind::Io, what)?;
    context.sysroot.sync_filesystem()
}
