//! `/var`: one for all deployments of a stateroot, filled from the image once.

use std::sync::Arc;

use bootwright_core::{
    context::BackendContext,
    error::Result,
    etc_merge::{EtcTree, Metadata, put_in_place},
    model::Stateroot,
};
use composefs::{fsverity::FsVerityHashValue, tree::FileSystem};

use super::etc;
use crate::tree::Objects;

/// Fills `/var` from the image's, if the stateroot has none yet.
///
/// # Crash
/// No `/var`, or all of it; perhaps a folder beside it that the next run replaces.
pub(crate) fn seed<H: FsVerityHashValue>(
    context: &BackendContext,
    stateroot: &Stateroot,
    tree: &FileSystem<H>,
    objects: &Arc<Objects>,
) -> Result<()> {
    let live = format!("state/os/{stateroot}/var");
    if context.sysroot.exists(&live) {
        return Ok(());
    }
    let var = etc::subtree(tree, "var", objects)?.unwrap_or_else(|| EtcTree::new(Metadata::with_mode(0o755)));
    put_in_place(&var, &context.sysroot, &live)
}

/// The link in a deployment's folder that leads to it.
pub(crate) fn link(context: &BackendContext, root: &str, stateroot: &Stateroot) -> Result<()> {
    let path = format!("{}/var", super::state::folder(root));
    if context.sysroot.dir().symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    context.sysroot.create_dir_all(&super::state::folder(root))?;
    context.sysroot.symlink(&format!("../../os/{stateroot}/var"), &path)
}
