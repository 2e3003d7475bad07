//! Whether libostree here is built with composefs.

use std::sync::OnceLock;

use bootwright_core::error::{Error, IoContext, Result};
use ostree_ext::ostree;

use super::scratch_repository;

/// The first version that refuses a repository which wants composefs if it is built without (src/libostree/ostree-repo.c); older ones know
/// no such wish.
const HONEST_SINCE: (u32, u32) = (2023, 4);

/// Asks libostree, once.
///
/// # Errors
/// `Unsupported` where it is too old, or built without composefs.
pub(crate) fn check() -> Result<()> {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if *ANSWER.get_or_init(|| probe().unwrap_or(false)) {
        return Ok(());
    }
    Err(Error::unsupported("libostree on this host cannot make the kernel verify what it reads: it is built without composefs")
        .with_hint("run this where libostree has composefs (`ostree --version` lists it), as in the image itself if it does, or do without verified reads (--allow-missing-verity)"))
}

/// Has libostree open a repository that wants composefs, in a temporary folder.
fn probe() -> Result<bool> {
    let (year, release) = HONEST_SINCE;
    if !ostree::check_version(year, release) {
        return Ok(false);
    }
    let folder = tempfile::tempdir().context_io(|| "make a temporary folder".to_owned())?;
    Ok(scratch_repository(folder.path(), "composefs").is_ok())
}
