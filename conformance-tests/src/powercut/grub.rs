//! What GRUB reads of a disk: asked of its own drivers, which replay no journal and look at no checksum of ext4.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::host;

/// The root partition, as GRUB names it: the second one of a GUID partition table.
const ROOT: &str = "(loop0,gpt2)";

/// The content of `file`, relative to the root of the second partition of `disk`.
///
/// # Errors
/// When the program is not installed, or GRUB would not find the file, or cannot read it.
pub fn read(disk: &Path, file: &Path) -> Result<Vec<u8>> {
    let file = format!("{ROOT}/{}", file.to_str().context("a name that is not UTF-8")?);
    host::run(host::command(program()).arg(disk).args(["cat", &file]))
}

/// Debian's name, or Fedora's.
fn program() -> &'static str {
    let names = ["grub-fstest", "grub2-fstest"];
    names.into_iter().find(|name| host::find_program(name).is_some()).unwrap_or("grub-fstest")
}
