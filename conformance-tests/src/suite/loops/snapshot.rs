//! Every file below a folder with everything that can be told apart. Folders with nothing in them are left out: stores sort objects
//! into folders by name, and keep those.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::suite::Fingerprint;

/// Adds all below `folder`, each name with `prefix` in front.
///
/// # Errors
/// When something cannot be read.
pub fn add_folder(all: &mut Fingerprint, prefix: &str, folder: &Path) -> Result<()> {
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("read {}", next.display()))? {
            let path = entry?.path();
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            // Taken by every command; holds nothing.
            if name == "bootwright/lock" || name == "lost+found" {
                continue;
            }
            let found = path.symlink_metadata()?;
            let (mode, owner) = (found.permissions().mode(), (found.uid(), found.gid()));
            if found.is_dir() && is_empty(&path)? {
                continue;
            }
            let content = content(&path, &found)?;
            all.add(format!("{prefix}/{name}"), format!("{mode:o} {owner:?} {content}"));
            if found.is_dir() {
                left.push(path);
            }
        }
    }
    Ok(())
}

/// Whether there is no file below a folder.
fn is_empty(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() || path.is_symlink() || !is_empty(&path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn content(path: &Path, found: &std::fs::Metadata) -> Result<String> {
    if found.is_symlink() {
        return Ok(format!("-> {}", std::fs::read_link(path)?.display()));
    }
    if !found.is_file() {
        return Ok(String::new());
    }
    let bytes = std::fs::read(path)?;
    let digest = hex::encode(Sha256::digest(&bytes));
    Ok(format!("{} bytes {}", bytes.len(), digest.get(..16).unwrap_or_default()))
}
