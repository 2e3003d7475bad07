//! Putting a whole tree in the place of a folder.

use super::{EtcTree, materialise};
use crate::{
    error::Result,
    fs::{ReplaceStyle, Root},
};

/// Ending of the folder that a tree is written to before it is put in place.
const FRESH: &str = ".new";

/// Writes `tree` beside the folder `live` of `root`, syncs it, and puts it in that folder's place in one step. The parent exists or is made.
///
/// # Errors
/// Those of [`fn@materialise`].
///
/// # Crash
/// The old folder or the new one, and perhaps a folder `<live>.new` that the next run replaces.
pub fn put_in_place(tree: &EtcTree, root: &Root, live: &str) -> Result<()> {
    let fresh = format!("{live}{FRESH}");
    root.remove_dir_all(&fresh)?;
    materialise(tree, &root.make_sub(&fresh)?)?;
    root.sync_filesystem()?;
    if root.exists(live) {
        root.exchange(&fresh, live)?;
        root.sync_filesystem()?;
        root.remove_dir_all(&fresh)?;
        return Ok(());
    }
    root.move_into_place(&fresh, live, ReplaceStyle::Relaxed)?;
    root.sync_filesystem()
}
