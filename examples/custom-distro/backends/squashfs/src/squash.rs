//! Making squashfs images, named by the digest of the file.

use bootwright_core::{
    error::{Error, Result},
    fs::{ReplaceStyle, Root},
    layers::LayerTree,
    process::Tool,
};

pub(crate) const IMAGES: &str = "tide/squashfs";

/// Times come from the layers, and the order of files is fixed: the same layers and the same tool give the same image.
const OPTIONS: [&str; 8] =
    ["-comp", "zstd", "-mkfs-time", "0", "-noappend", "-quiet", "-no-progress", "-no-recovery"];

/// The image with this digest.
pub(crate) fn path(hex: &str) -> String {
    format!("{IMAGES}/{hex}.squashfs")
}

/// Makes the image of a tree. Returns its digest in hex.
///
/// # Crash
/// Leaves the whole image, or a temporary file that `retain` removes.
pub(crate) fn make(sysroot: &Root, tree: &LayerTree) -> Result<String> {
    let temporary = sysroot.write_temporary(&path("new"), b"")?;
    let made = write(sysroot, tree, &temporary);
    if made.is_err() {
        sysroot.remove_file(&temporary)?;
    }
    made
}

fn write(sysroot: &Root, tree: &LayerTree, temporary: &str) -> Result<String> {
    sysroot.faults().before("make the squashfs image")?;
    let target = sysroot.proc_path().join(temporary);
    let tool = Tool::new("sqfstar").package("squashfs-tools").args(OPTIONS).arg(target);
    tool.run_fed_blocking(|out| tree.write_tar(out))?;
    sysroot.sync_path(temporary)?;
    let digest = sysroot.sha256_of(temporary)?.ok_or_else(|| Error::internal("the new image is gone"))?;
    sysroot.move_into_place(temporary, &path(digest.hex()), ReplaceStyle::Durable)?;
    Ok(digest.hex().to_owned())
}
