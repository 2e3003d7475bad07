//! Reads that the kernel verifies: libostree's composefs mode.
//!
//! Three parts have to play together. The *store* has fs-verity on every object ([`store`]). *libostree*, where a deployment is checked out,
//! writes an EROFS image with the tree and the digests of its files beside them, if it is built with composefs ([`library`]). And *early boot*
//! of the image mounts that in place of the folder, and insists on the digests ([`early_boot`]); it takes its orders from a file of the
//! image, which its initramfs has too. So a verified store takes only images that insist, and no store one that insists on what it cannot give.

use std::path::Path;

use ostree_ext::{gio::Cancellable, glib, ostree};

pub(crate) mod early_boot;
pub(crate) mod library;
pub(crate) mod store;

/// libostree's name of the EROFS image in a deployment's folder (`OSTREE_COMPOSEFS_NAME` in its src/libotcore/otcore.h).
pub(crate) const IMAGE: &str = ".ostree.cfs";

/// A new repository that is not to stay, with this wish in the group [`store::GROUP`] of its configuration.
fn scratch_repository(folder: &Path, wish: &str) -> std::result::Result<ostree::Repo, glib::Error> {
    let repo = ostree::Repo::new_for_path(folder);
    repo.create(ostree::RepoMode::Bare, Cancellable::NONE)?;
    let config = repo.copy_config();
    config.set_boolean(store::GROUP, wish, true);
    repo.write_config(&config)?;
    // Opened again, because what is in force is what was read then.
    let repo = ostree::Repo::new_for_path(folder);
    repo.open(Cancellable::NONE)?;
    Ok(repo)
}
