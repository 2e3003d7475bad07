//! Removing what nothing needs any more.

use std::collections::BTreeSet;

use bootwright_core::{
    Error, Result,
    bls::Entry,
    boot_files::remove_temporaries,
    context::BootContext,
    fs::Root,
    model::{DeploymentId, Removed},
};

use crate::{
    boot_root,
    files::STORE,
    menu::{Found, Menu, relative},
    names::ENTRIES,
};

/// Removes entries, then files.
///
/// # Crash
/// Entries go first, and their removal is durable before any file is: no entry is left without its files.
pub fn sweep(context: &BootContext, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
    if keep.is_empty() {
        return Err(Error::invalid("refusing to remove every boot entry: nothing was named to be kept"));
    }
    let root = boot_root(context);
    let menu = Menu::load(root)?;
    let mut removed = Removed::default();
    let default = menu.effective().next().map(|found| found.file.clone());
    let staying: BTreeSet<&String> = menu
        .effective()
        .filter(|found| keep.contains(found.deployment()) || Some(&found.file) == default.as_ref())
        .map(|found| &found.file)
        .collect();
    for found in menu.ours.iter().filter(|found| !staying.contains(&found.file)) {
        remove_entry(root, found, &mut removed)?;
    }
    removed.bytes += remove_temporaries(root, ENTRIES)?;
    if let Some(file) = default.filter(|_| !removed.items.is_empty()) {
        root.sync_path(&format!("{ENTRIES}/{file}"))?;
    }
    sweep_store(root, &mut removed)?;
    // What a stopped `install` left.
    for folder in ["loader", "EFI/systemd", "EFI/BOOT"] {
        removed.bytes += remove_temporaries(&context.esp, folder)?;
    }
    Ok(removed)
}

fn remove_entry(root: &Root, found: &Found, removed: &mut Removed) -> Result<()> {
    if root.remove_file(&found.path())? {
        removed.items.push(found.file.clone());
    }
    Ok(())
}

/// Removes folders of ours that no entry names: neither one of ours nor a foreign one (a copy that an administrator made).
fn sweep_store(root: &Root, removed: &mut Removed) -> Result<()> {
    let needed = needed_folders(root)?;
    for name in root.list(STORE)? {
        let folder = format!("{STORE}/{name}");
        if needed.contains(&folder.to_ascii_lowercase()) {
            removed.bytes += remove_temporaries(root, &folder)?;
            continue;
        }
        removed.bytes += bytes_below(root, &folder)?;
        root.remove_dir_all(&folder)?;
        removed.items.push(folder);
    }
    Ok(())
}

fn needed_folders(root: &Root) -> Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for file in root.list(ENTRIES)? {
        // A folder in this place reads as an error; it names no files.
        let Ok(Some(content)) = root.read(&format!("{ENTRIES}/{file}")) else { continue };
        for path in Entry::parse(&content).paths() {
            let path = relative(path).to_ascii_lowercase();
            needed.extend(path.rsplit_once('/').map(|(folder, _)| folder.to_owned()));
        }
    }
    Ok(needed)
}

/// Bytes of the files in a folder and in its addon folders.
fn bytes_below(root: &Root, folder: &str) -> Result<u64> {
    let mut sum = 0;
    for name in root.list(folder)? {
        let path = format!("{folder}/{name}");
        sum += if root.dir().is_dir(&path) {
            bytes_below(root, &path)?
        } else {
            root.size_of(&path)?.unwrap_or(0)
        };
    }
    Ok(sum)
}
