//! What GRUB reads of a disk: asked of its own drivers, which replay no journal and look at no checksum of ext4.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::host;

/// The content of `file`, relative to the root of a partition of `disk`, counted from 1 in its GUID partition table.
///
/// # Errors
/// When the program is not installed, or GRUB would not find the file, or cannot read it.
pub fn read(disk: &Path, partition: u32, file: &Path) -> Result<Vec<u8>> {
    let file = format!("(loop0,gpt{partition})/{}", file.to_str().context("a name that is not UTF-8")?);
    host::run(host::command(program()).arg(disk).args(["cat", &file]))
}

/// Debian's name, or Fedora's.
fn program() -> &'static str {
    let names = ["grub-fstest", "grub2-fstest"];
    names.into_iter().find(|name| host::find_program(name).is_some()).unwrap_or("grub-fstest")
}
