//! Making and opening the repository.
//!
//! libostree's objects may not be shared between threads. So a [`Store`] is only a place, and every thread opens the repository itself,
//! which is cheap: its configuration is read, nothing else.

use std::path::{Path, PathBuf};

use bootwright_core::{
    error::{Error, Result},
    fs::Root,
};
use ostree_ext::{gio, ostree};

use crate::errors::LibraryContext;

/// The repository, relative to the physical root.
pub(crate) const REPOSITORY: &str = "ostree/repo";
/// Its description, which libostree writes last when it makes one.
const CONFIG: &str = "ostree/repo/config";

/// Where images are kept: the repository below a physical root.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// The physical root.
    pub(crate) sysroot: Root,
}

impl Store {
    /// The store below this physical root. Nothing is opened yet.
    pub(crate) fn new(sysroot: Root) -> Self {
        Self { sysroot }
    }

    /// The repository's path; stays valid while the [`Store`] lives, whatever becomes of the name by which the root was opened.
    pub(crate) fn path(&self) -> PathBuf {
        self.sysroot.proc_path().join(REPOSITORY)
    }

    /// Whether there is a repository.
    pub(crate) fn exists(&self) -> bool {
        self.sysroot.exists(CONFIG)
    }

    /// Opens the repository, for this thread.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub(crate) fn open(&self) -> Result<ostree::Repo> {
        if !self.exists() {
            return Err(Error::not_found(format!(
                "there is no OSTree repository at {}",
                self.sysroot.show(REPOSITORY)
            ))
            .with_hint("install first, or name the root file system that holds it"));
        }
        open(&self.path())
    }
}

/// Opens the repository at a path, for this thread.
///
/// # Errors
/// `NotFound` if there is none; `Permission`.
pub(crate) fn open(path: &Path) -> Result<ostree::Repo> {
    let repo = ostree::Repo::new_for_path(path);
    repo.open(gio::Cancellable::NONE).context(|| format!("open the repository {}", path.display()))?;
    Ok(repo)
}

/// Makes the repository unless there is one. Its mode is `bare`: files lie in it as they will run, with owner, mode and attributes, so
/// that a deployment is made of hard links.
///
/// # Crash
/// libostree writes the configuration last: without it there is no repository yet, and the next call makes it.
pub(crate) fn initialize(sysroot: &Root) -> Result<()> {
    if Store::new(sysroot.clone()).exists() {
        return Ok(());
    }
    sysroot.create_dir_all(REPOSITORY)?;
    sysroot.faults().before("create the OSTree repository")?;
    let path = sysroot.proc_path().join(REPOSITORY);
    let repo = ostree::Repo::new_for_path(&path);
    repo.create(ostree::RepoMode::Bare, gio::Cancellable::NONE)
        .context(|| format!("create the repository {}", sysroot.show(REPOSITORY)))?;
    sysroot.sync_filesystem()
}
