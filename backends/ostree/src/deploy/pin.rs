//! Pins of libostree's own (`ostree admin pin`). They lie in the origin file of a deployment, whatever list that is in.

use bootwright_core::{
    context::BackendContext,
    error::{ErrorKind, Result},
    model::DeploymentId,
};

use super::record;
use crate::{catalogue::Catalogue, errors::LibraryContext as _};

/// Takes a pin off; see `StorageBackend::unpin`.
///
/// # Crash
/// libostree replaces the origin file: the pin is there or not.
pub(crate) fn unpin(context: &BackendContext, id: &DeploymentId) -> Result<()> {
    let commit = record::get(context, id)?.commit;
    let catalogue = Catalogue::open_locked(context)?;
    let what = || format!("take the pin off the deployment {id}");
    let all = catalogue.sysroot.deployments();
    for deployed in all.iter().filter(|deployed| deployed.csum() == commit && deployed.is_pinned()) {
        context.sysroot.faults().before(&what())?;
        catalogue.sysroot.deployment_set_pinned(deployed, false).or_kind(ErrorKind::Io, what)?;
    }
    context.sysroot.sync_filesystem()
}
