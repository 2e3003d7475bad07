//! Folders under `/state/deploy`: found, read, written.

use bootwright_core::{
    context::BackendContext,
    error::{Error, Result},
    fs::ReplaceStyle,
    model::{DeploymentId, KernelCmdline},
};

use crate::{origin::Origin, roots::RootArg};

const DEPLOY: &str = "state/deploy";
const SUFFIX: &str = ".origin";

/// The folder of a root digest.
pub(crate) fn folder(root: &str) -> String {
    format!("{DEPLOY}/{root}")
}

fn origin_path(root: &str, id: &DeploymentId) -> String {
    format!("{DEPLOY}/{root}/{id}{SUFFIX}")
}

/// One deployment on disk.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Digest of its root in hex: the name of its folder.
    pub root: String,
    /// What its origin file says.
    pub origin: Origin,
}

impl Found {
    /// Its id.
    pub fn id(&self) -> &DeploymentId {
        &self.origin.deployment.id
    }
}

/// Every deployment. One whose origin file is damaged is passed over with a warning: it must not take the others down.
///
/// # Errors
/// If the device does not give one back: who deletes what is not listed must not take it for gone.
pub(crate) fn all(context: &BackendContext) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for root in context.sysroot.list(DEPLOY)? {
        for name in context.sysroot.list(&folder(&root))? {
            let Some(stem) = name.strip_suffix(SUFFIX) else { continue };
            match read(context, &root, stem) {
                Ok(Some(origin)) => found.push(Found { root: root.clone(), origin }),
                Ok(None) => {}
                Err(error) if error.is_unreadable() => return Err(error),
                Err(error) => tracing::warn!("{DEPLOY}/{root}/{name} is passed over: {error}"),
            }
        }
    }
    Ok(found)
}

fn read(context: &BackendContext, root: &str, stem: &str) -> Result<Option<Origin>> {
    let id = DeploymentId::new(stem)?;
    let text = context.sysroot.read_text(&origin_path(root, &id))?;
    text.map(|text| Origin::parse(id, &text)).transpose()
}

/// The deployment with this id.
///
/// # Errors
/// `NotFound` if there is none.
pub(crate) fn get(context: &BackendContext, id: &DeploymentId) -> Result<Found> {
    // Ids start with the root digest, which saves reading every other folder.
    let root = id.as_str().split('-').next().unwrap_or_default();
    if let Some(origin) = read(context, root, id.as_str())? {
        return Ok(Found { root: root.to_owned(), origin });
    }
    Err(Error::not_found(format!("there is no deployment {id} in the composefs store"))
        .with_hint("list what exists with `bootwright status`"))
}

/// Writes a deployment's origin file durably; the deployment exists from then on.
pub(crate) fn write(context: &BackendContext, found: &Found) -> Result<()> {
    let path = origin_path(&found.root, found.id());
    let text = found.origin.print()?;
    if context.sysroot.read_text(&path)?.as_deref() == Some(text.as_str()) {
        return Ok(());
    }
    context.sysroot.replace(&path, text.as_bytes(), ReplaceStyle::Durable)
}

/// Removes a deployment's origin file.
pub(crate) fn remove(context: &BackendContext, found: &Found) -> Result<bool> {
    context.sysroot.remove_file(&origin_path(&found.root, found.id()))
}

/// Names of folders under `/state/deploy`, with or without a deployment in them.
pub(crate) fn folders(context: &BackendContext) -> Result<Vec<String>> {
    context.sysroot.list(DEPLOY)
}

/// The root digest that the running system was started with, if it runs from this store.
pub(crate) fn booted_root(context: &BackendContext) -> Result<Option<String>> {
    let Some(running) = &context.running_root else { return Ok(None) };
    let Some(text) = running.read_text("proc/cmdline")? else { return Ok(None) };
    // A command line that cannot be understood did not start anything of ours.
    let args = RootArg::all(&KernelCmdline::parse_lossy(&text)).unwrap_or_default();
    Ok(args.into_iter().map(|arg| arg.hex).find(|hex| context.sysroot.exists(&folder(hex))))
}

/// The deployment that a command line starts.
///
/// Deployments that share a root cannot be told apart by it. Then the one whose origin file changed last wins, finalised ones first:
/// what was published last is what boots by default.
pub(crate) fn booted(context: &BackendContext, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
    let args = RootArg::all(cmdline).unwrap_or_default();
    let mut candidates: Vec<_> = all(context)?
        .into_iter()
        .filter(|found| args.iter().any(|arg| arg.hex == found.root))
        .map(|found| (found.origin.deployment.finalized, changed(context, &found), found))
        .collect();
    candidates.sort_by_key(|(finalized, changed, _)| (*finalized, *changed));
    Ok(candidates.pop().map(|(_, _, found)| found.origin.deployment.id))
}

fn changed(context: &BackendContext, found: &Found) -> Option<std::time::SystemTime> {
    let path = origin_path(&found.root, found.id());
    context.sysroot.dir().metadata(path).ok()?.modified().ok().map(cap_std::time::SystemTime::into_std)
}
