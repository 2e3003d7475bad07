//! `/var`: one for all deployments of a stateroot, filled from the image once.

use std::sync::Arc;

use bootwright_core::{
    context::BackendContext, error::Result, etc_merge::materialise, fs::ReplaceStyle, model::Stateroot,
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
    let (live, fresh) = (format!("state/os/{stateroot}/var"), format!("state/os/{stateroot}/var.new"));
    let sysroot = &context.sysroot;
    if sysroot.exists(&live) {
        return Ok(());
    }
    sysroot.remove_dir_all(&fresh)?;
    let target = sysroot.make_sub(&fresh)?;
    if let Some(var) = etc::subtree(tree, "var", objects)? {
        materialise(&var, &target)?;
    }
    sysroot.sync_filesystem()?;
    // The deployment that uses it is recorded, and synced, after this.
    sysroot.move_into_place(&fresh, &live, ReplaceStyle::Relaxed)
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
