//! `/var`: one for all deployments of a stateroot, filled from the image once.

use std::os::fd::AsRawFd as _;

use bootwright_core::{
    context::BackendContext,
    error::{ErrorKind, Result},
    fs::ReplaceStyle,
    model::Stateroot,
};
use ostree_ext::{gio::Cancellable, ostree};

use super::files::CommitFiles;
use crate::errors::LibraryContext as _;

fn live(stateroot: &Stateroot) -> String {
    format!("ostree/deploy/{stateroot}/var")
}

/// Fills `/var` from the image's, if the stateroot has none yet.
///
/// # Crash
/// No `/var`, or all of it; perhaps a folder beside it that the next run replaces.
pub(crate) fn seed(
    context: &BackendContext,
    repo: &ostree::Repo,
    files: &CommitFiles<'_>,
    commit: &str,
    stateroot: &Stateroot,
) -> Result<()> {
    let live = live(stateroot);
    let fresh = format!("{live}.new");
    let sysroot = &context.sysroot;
    if sysroot.exists(&live) {
        return Ok(());
    }
    sysroot.remove_dir_all(&fresh)?;
    if files.is_folder("var")? {
        sysroot.create_dir_all(&format!("ostree/deploy/{stateroot}"))?;
        sysroot.faults().before("fill /var")?;
        let options = ostree::RepoCheckoutAtOptions {
            mode: ostree::RepoCheckoutMode::None,
            force_copy: true,
            subpath: Some("/var".into()),
            ..Default::default()
        };
        repo.checkout_at(Some(&options), sysroot.dir().as_raw_fd(), &fresh, commit, Cancellable::NONE)
            .or_kind(ErrorKind::Io, || "fill /var from the image".to_owned())?;
    } else {
        sysroot.create_dir_all(&fresh)?;
    }
    sysroot.sync_filesystem()?;
    // The deployment that uses it is recorded, and synced, after this.
    sysroot.move_into_place(&fresh, &live, ReplaceStyle::Relaxed)
}

/// A stateroot has to have a `/var`, with or without something in it.
pub(crate) fn ensure(context: &BackendContext, stateroot: &Stateroot) -> Result<()> {
    context.sysroot.create_dir_all(&live(stateroot))
}
