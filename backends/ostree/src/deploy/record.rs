//! Records: one small JSON file per deployment, from the moment when it is prepared.

use bootwright_core::{
    context::BackendContext,
    error::{Error, Result},
    fs::ReplaceStyle,
    model::{Deployment, DeploymentId, KernelArtifacts},
};
use serde::{Deserialize, Serialize};

/// Where records are.
pub(crate) const FOLDER: &str = "ostree/bootwright/deployments";
const SUFFIX: &str = ".json";

/// What is known of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// What others are told about it. Whether it is finalised, or pinned, is not taken from here: the catalogue knows.
    pub deployment: Deployment,
    /// The deployment whose `/etc` it merges.
    pub merge_from: Option<DeploymentId>,
    /// The commit that is checked out: the image's, or one made from it for libostree's sake.
    pub commit: String,
    /// The kernel.
    pub kernel: KernelArtifacts,
    /// The checksum of the kernel by which libostree names its links.
    pub boot_checksum: String,
}

impl Record {
    /// The deployment's id.
    pub fn id(&self) -> &DeploymentId {
        &self.deployment.id
    }
}

fn path(id: &DeploymentId) -> String {
    format!("{FOLDER}/{id}{SUFFIX}")
}

/// Every record. One that is damaged is passed over with a warning: it must not take the others down.
///
/// # Errors
/// If the device does not give one back: who deletes what is not listed must not take it for gone.
pub(crate) fn all(context: &BackendContext) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    for name in context.sysroot.list(FOLDER)? {
        let Some(id) = name.strip_suffix(SUFFIX).and_then(|stem| DeploymentId::new(stem).ok()) else {
            continue;
        };
        match find(context, &id) {
            Ok(record) => found.extend(record),
            Err(error) if error.is_unreadable() => return Err(error),
            Err(error) => tracing::warn!("{FOLDER}/{name} is passed over: {error}"),
        }
    }
    Ok(found)
}

/// The record of this deployment, if there is one.
pub(crate) fn find(context: &BackendContext, id: &DeploymentId) -> Result<Option<Record>> {
    let Some(bytes) = context.sysroot.read(&path(id))? else { return Ok(None) };
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
        Error::integrity(format!("{} is damaged", context.sysroot.show(&path(id)))).with_source(error)
    })?;
    if record.id() == id {
        return Ok(Some(record));
    }
    Err(Error::integrity(format!("{} is of another deployment", context.sysroot.show(&path(id)))))
}

/// The record of this deployment.
///
/// # Errors
/// `NotFound` if there is none.
pub(crate) fn get(context: &BackendContext, id: &DeploymentId) -> Result<Record> {
    find(context, id)?.ok_or_else(|| {
        Error::not_found(format!("there is no deployment {id} in the OSTree store"))
            .with_hint("list what exists with `bootwright status`")
    })
}

/// Writes a record durably; the deployment exists from then on.
pub(crate) fn write(context: &BackendContext, record: &Record) -> Result<()> {
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| Error::internal("describe a deployment").with_source(error))?;
    let path = path(record.id());
    if context.sysroot.read(&path)?.as_deref() == Some(text.as_slice()) {
        return Ok(());
    }
    context.sysroot.replace(&path, &text, ReplaceStyle::Durable)
}

/// Removes a record.
pub(crate) fn remove(context: &BackendContext, id: &DeploymentId) -> Result<bool> {
    context.sysroot.remove_file(&path(id))
}
