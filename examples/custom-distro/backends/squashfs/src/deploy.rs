//! Deployments: made, finalised, removed, checked.

use std::collections::{BTreeMap, BTreeSet};

use bootwright_core::{
    context::BackendContext,
    error::{Error, Result},
    etc_merge::{EtcTree, MergeReport, merge, put_in_place, scan},
    fs::Root,
    image_kernel,
    layers::{LayerStore, LayerTree, digest_problem},
    model::{
        BootArtifacts, DeploySpec, Deployment, DeploymentId, Digest, KernelArg, KernelCmdline, Removed,
        VerifyProblem, VerifyReport,
    },
};
use serde::{Deserialize, Serialize};

use crate::{TOP, squash};

const ARGUMENT: &str = "tide.image";
const DEPLOY: &str = "tide/deploy";
/// Early boot mounts over these.
const FOLDERS: [&str; 4] = ["usr", "etc", "var", "sysroot"];

/// What is on disk about a deployment; once it is there, the deployment exists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub deployment: Deployment,
    pub artifacts: BootArtifacts,
    merge_from: Option<DeploymentId>,
}

impl Record {
    fn manifest(&self) -> &Digest {
        &self.deployment.image.manifest_digest
    }

    fn write(&self, sysroot: &Root) -> Result<()> {
        sysroot.write_json(&path(&self.deployment.id, "deployment.json"), self)
    }
}

fn path(id: &DeploymentId, what: &str) -> String {
    format!("{DEPLOY}/{id}/{what}")
}

pub(crate) fn layers(sysroot: &Root) -> LayerStore {
    LayerStore::new(sysroot.clone(), TOP)
}

/// The deployment with this id.
///
/// # Errors
/// `NotFound` if there is none.
pub(crate) fn get(sysroot: &Root, id: &DeploymentId) -> Result<Record> {
    let found = sysroot.read_json(&path(id, "deployment.json"))?;
    found.ok_or_else(|| Error::not_found(format!("there is no deployment {id} in the squashfs store")))
}

/// Every deployment. A record that is damaged or not there yet must not take the others down.
pub(crate) fn all(sysroot: &Root) -> Result<Vec<Record>> {
    let ids = sysroot.list(DEPLOY)?.into_iter().filter_map(|name| DeploymentId::new(name).ok());
    Ok(ids.filter_map(|id| get(sysroot, &id).ok()).collect())
}

/// The deployment that a command line starts.
pub(crate) fn booted(sysroot: &Root, cmdline: &KernelCmdline) -> Option<DeploymentId> {
    let mut ids = cmdline.values(ARGUMENT).filter_map(|value| DeploymentId::new(value).ok());
    ids.find(|id| get(sysroot, id).is_ok())
}

fn running(context: &BackendContext) -> Result<Option<DeploymentId>> {
    let Some(root) = &context.running_root else { return Ok(None) };
    let cmdline = root.read_text("proc/cmdline")?.unwrap_or_default();
    Ok(booted(&context.sysroot, &KernelCmdline::parse_lossy(&cmdline)))
}

pub(crate) fn prepare(context: &BackendContext, spec: &DeploySpec) -> Result<Deployment> {
    let sysroot = &context.sysroot;
    let image = layers(sysroot).open(&spec.image.manifest_digest)?;
    if let Some(missing) = FOLDERS.iter().find(|name| image.tree.get(name).is_none()) {
        return Err(Error::invalid(format!("the image lacks the folder /{missing}"))
            .with_hint("create it in the image, empty if it is a mount point"));
    }
    let kernel = image_kernel::find(&image)?.artifacts;
    let id = match made_before(sysroot, spec)? {
        Some(id) => id,
        None => DeploymentId::new(squash::make(sysroot, &image.tree)?)?,
    };
    seed_var(sysroot, spec, &image.tree)?;
    let root_args = [KernelArg::new(format!("{ARGUMENT}={id}"))?].into_iter().collect();
    let deployment = Deployment {
        // Preparing what exists returns it: what has an /etc still has it.
        finalized: get(sysroot, &id).is_ok_and(|known| known.deployment.finalized),
        stateroot: spec.stateroot.clone(),
        image: spec.image.clone(),
        origin: spec.origin.clone(),
        verified: false,
        pinned_by_store: false,
        id,
    };
    sysroot.create_dir_all(&format!("{DEPLOY}/{}", deployment.id))?;
    sysroot.symlink(&format!("../../var/{}", spec.stateroot), &path(&deployment.id, "var"))?;
    let artifacts = BootArtifacts { kernel, root_args };
    let record = Record { deployment, artifacts, merge_from: spec.merge_from.clone() };
    record.write(sysroot)?;
    Ok(record.deployment)
}

/// What was made of this very manifest earlier, perhaps by another version of the tool.
fn made_before(sysroot: &Root, spec: &DeploySpec) -> Result<Option<DeploymentId>> {
    let mut same =
        all(sysroot)?.into_iter().filter(|record| record.manifest() == &spec.image.manifest_digest);
    let made = same.find(|record| sysroot.exists(&squash::path(record.deployment.id.as_str())));
    Ok(made.map(|record| record.deployment.id))
}

fn seed_var(sysroot: &Root, spec: &DeploySpec, tree: &LayerTree) -> Result<()> {
    let live = format!("{TOP}/var/{}", spec.stateroot);
    match tree.subtree("var")? {
        Some(var) if !sysroot.exists(&live) => put_in_place(&var, sysroot, &live),
        _ => Ok(()),
    }
}

pub(crate) fn finalize(context: &BackendContext, id: &DeploymentId) -> Result<MergeReport> {
    let sysroot = &context.sysroot;
    let mut record = get(sysroot, id)?;
    let from = record.merge_from.clone();
    // The same tree under another name has the /etc that a merge would give; that of the running system is never replaced.
    let in_use = from.as_ref() == Some(id) || running(context)?.as_ref() == Some(id);
    let merged_and_gone =
        record.deployment.finalized && from.as_ref().is_some_and(|from| get(sysroot, from).is_err());
    if in_use || merged_and_gone {
        return Ok(MergeReport::default());
    }
    let (etc, report) = match from {
        None => (image_etc(sysroot, record.manifest())?, MergeReport::default()),
        Some(from) => {
            let base = image_etc(sysroot, get(sysroot, &from)?.manifest())?;
            let local = scan(&sysroot.sub(&path(&from, "etc"))?)?;
            merge(&base, &local, &image_etc(sysroot, record.manifest())?)
        }
    };
    put_in_place(&etc, sysroot, &path(id, "etc"))?;
    record.deployment.finalized = true;
    record.write(sysroot)?;
    Ok(report)
}

fn image_etc(sysroot: &Root, manifest: &Digest) -> Result<EtcTree> {
    let etc = layers(sysroot).open(manifest)?.tree.subtree("etc")?;
    Ok(etc.ok_or_else(|| Error::invalid("the image has no folder /etc"))?.without_build_leftovers())
}

/// A deployment first loses its record, so that it is gone for everybody; then what only it needed goes.
pub(crate) fn retain(context: &BackendContext, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
    let sysroot = &context.sysroot;
    let running = running(context)?;
    let is_kept = |record: &Record| {
        keep.contains(&record.deployment.id) || running.as_ref() == Some(&record.deployment.id)
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = all(sysroot)?.into_iter().partition(is_kept);
    let mut removed = Removed::default();
    for Record { deployment: Deployment { id, .. }, .. } in dropped {
        sysroot.remove_file(&path(&id, "deployment.json"))?;
        removed.items.push(format!("deployment {id}"));
    }
    sysroot.sync_filesystem()?;
    let ids: BTreeSet<_> = kept.iter().map(|record| record.deployment.id.as_str()).collect();
    for id in sysroot.list(DEPLOY)?.iter().filter(|id| !ids.contains(id.as_str())) {
        sysroot.remove_dir_all(&format!("{DEPLOY}/{id}"))?;
    }
    for name in sysroot.list(squash::IMAGES)? {
        let path = format!("{}/{name}", squash::IMAGES);
        if !ids.contains(name.trim_end_matches(".squashfs")) {
            removed.bytes += sysroot.size_of(&path)?.unwrap_or_default();
            sysroot.remove_file(&path)?;
        }
    }
    removed.add(layers(sysroot).retain(&kept.iter().map(|record| record.manifest().clone()).collect())?);
    Ok(removed)
}

/// Reads every image and layer, and says which deployments one that is damaged or missing hurts.
pub(crate) fn verify(sysroot: &Root) -> Result<VerifyReport> {
    let records: BTreeMap<_, _> = all(sysroot)?.into_iter().map(|r| (r.deployment.id.clone(), r)).collect();
    let (checked, damaged) =
        layers(sysroot).verify(&records.values().map(|r| r.manifest().clone()).collect())?;
    let mut report = VerifyReport { checked: checked + records.len() as u64, problems: Vec::new() };
    for id in records.keys() {
        let path = squash::path(id.as_str());
        if let Some(problem) = digest_problem(sysroot, &path, id.as_str())? {
            let (problem, deployments) = (problem.to_owned(), vec![id.clone()]);
            report.problems.push(VerifyProblem { path, problem, deployments });
        }
    }
    for layer in damaged {
        let users = records.iter().filter(|(_, record)| layer.images.contains(record.manifest()));
        let deployments = users.map(|(id, _)| id.clone()).collect();
        report.problems.push(VerifyProblem {
            path: layer.path,
            problem: layer.problem.to_owned(),
            deployments,
        });
    }
    Ok(report)
}
