//! The repository: made, opened.

use bootwright_core::{
    error::{ErrorKind, Result},
    fs::Root,
};
use ostree_ext::{gio::Cancellable, ostree};

use crate::catalogue::GlibContext as _;

/// Makes an empty sysroot with a repository unless there is one.
pub(crate) fn initialize(sysroot: &Root) -> Result<()> {
    if sysroot.exists("ostree/repo/config") {
        return Ok(());
    }
    sysroot.faults().before("make the OSTree repository")?;
    sysroot.create_dir_all("ostree/repo")?;
    let repo = ostree::Repo::new_for_path(sysroot.proc_path().join("ostree/repo"));
    repo.create(ostree::RepoMode::Bare, Cancellable::NONE)
        .or_kind(ErrorKind::Io, || "make the OSTree repository".to_owned())
}

/// Opens the repository.
pub(crate) fn open(sysroot: &Root) -> Result<ostree::Repo> {
    let repo = ostree::Repo::new_for_path(sysroot.proc_path().join("ostree/repo"));
    repo.open(Cancellable::NONE).or_kind(ErrorKind::NotFound, || "open the OSTree repository".to_owned())?;
    Ok(repo)
}
