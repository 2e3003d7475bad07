//! Making squashfs images, named by the digest of the file.

use bootwright_core::{
    error::{Error, Result},
    fs::{ReplaceStyle, Root},
    layers::LayerTree,
    process::Tool,
};

pub(crate) const IMAGES: &str = "tide/squashfs";

/// The machine compresses while it runs: LZ4 takes a fraction of the time of the others.
const OPTIONS: [&str; 6] = ["-comp", "lz4", "-force", "-exit-on-error", "-quiet", "-no-progress"];

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
    // The same layers and the same tool give the same image: what the tool makes of its own, the root and the time of the whole, gets
    // the mode and the newest time that are in the layers (SOURCE_DATE_EPOCH in sqfstar(1)).
    let mode = tree.get("").map_or(0o755, |root| root.metadata.mode);
    let newest = tree.iter().filter_map(|(_, entry)| entry.metadata.mtime).max().unwrap_or_default().0;
    let tool = Tool::new("sqfstar").package("squashfs-tools").env("SOURCE_DATE_EPOCH", newest.to_string());
    let tool = tool
        .args(OPTIONS)
        .arg("-root-mode")
        .arg(format!("{mode:o}"))
        .args(["-root-uid", "0", "-root-gid", "0"])
        .arg(target);
    tool.run_fed_blocking(|out| tree.write_tar(out))?;
    sysroot.sync_path(temporary)?;
    let digest = sysroot.sha256_of(temporary)?.ok_or_else(|| Error::internal("the new image is gone"))?;
    sysroot.move_into_place(temporary, &path(digest.hex()), ReplaceStyle::Durable)?;
    Ok(digest.hex().to_owned())
}
