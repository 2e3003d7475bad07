//! A repository whose objects have fs-verity from the moment when they are written.

use bootwright_core::{
    context::BackendContext,
    error::{Error, IoContext, Result},
    registry::Verity,
};
use ostree_ext::{gio::Cancellable, glib, ostree};

use super::{library, scratch_repository};
use crate::{errors::LibraryContext as _, repo::Store};

/// Where libostree's configuration has it (src/libostree/ostree-repo-verity.c).
pub(crate) const GROUP: &str = "ex-integrity";
const WISH: &str = "fsverity";
/// What it says: objects get fs-verity, and it is an error where they cannot. Deployments get their image without a word about it here; with
/// one, a libostree without composefs would not even open the repository.
pub(crate) const SETTING: (&str, &str, &str) = (GROUP, WISH, "true");

/// Whether everything in this repository can be verified.
pub(crate) fn is_verified(repo: &ostree::Repo) -> bool {
    repo.config().boolean(GROUP, WISH).unwrap_or(false)
}

/// Whether the store can be what is demanded: libostree and the file system take part, and there is nothing in it yet that the kernel does
/// not verify. Leaves nothing behind.
///
/// # Errors
/// `Unsupported`.
pub(crate) fn check(context: &BackendContext) -> Result<()> {
    if context.verity == Verity::Optional {
        return Ok(());
    }
    library::check()?;
    let store = Store::new(context.sysroot.clone());
    if store.exists() && !can_become_verified(&store.open()?)? {
        return Err(Error::unsupported("the OSTree repository has objects that the kernel does not verify")
            .with_hint("install on an empty file system"));
    }
    try_file_system(context)
}

fn can_become_verified(repo: &ostree::Repo) -> Result<bool> {
    let objects = repo.list_objects(ostree::RepoListObjectsFlags::ALL.bits(), Cancellable::NONE);
    let objects = objects.context(|| "list the objects of the repository".to_owned())?;
    Ok(objects.is_empty() || is_verified(repo))
}

/// Writes a file into a repository that is removed again.
fn try_file_system(context: &BackendContext) -> Result<()> {
    let what = || format!("try fs-verity in {}", context.sysroot.label().display());
    context.sysroot.faults().before(&what())?;
    let folder = tempfile::tempdir_in(context.sysroot.proc_path()).context_io(what)?;
    let repo = scratch_repository(folder.path(), WISH).context(what)?;
    write_file(&repo).map_err(|error| {
        Error::unsupported("fs-verity is not available on the root file system").with_source(error).with_hint(
            "use ext4 made with `mkfs.ext4 -O verity`, or btrfs, on a kernel with CONFIG_FS_VERITY, or give up verification with --allow-missing-verity",
        )
    })
}

fn write_file(repo: &ostree::Repo) -> std::result::Result<(), glib::Error> {
    const MODE: u32 = 0o100_644;
    repo.write_regfile_inline(None, 0, 0, MODE, None, b"probe", Cancellable::NONE).map(drop)
}
