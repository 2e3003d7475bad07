//! Removing what nothing needs any more.

use std::collections::BTreeSet;

use bootwright_core::{
    Error, Result,
    bls::Entry,
    boot_files::{remove_folder, remove_temporaries},
    context::BootContext,
    fs::{Root, TEMPORARY_PREFIX},
    model::{BootPlan, DeploymentId, Removed},
};

use crate::{
    boot_root,
    files::{STORE, folders_of},
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
    let mut removed = Removed { bytes: remove_unfinished(context)?, ..Removed::default() };
    for found in leaving(&menu, keep) {
        remove_entry(root, found, &mut removed)?;
    }
    if let Some(default) = menu.default_entry().filter(|_| !removed.items.is_empty()) {
        root.sync_path(&default.path())?;
    }
    sweep_store(root, &mut removed)?;
    Ok(removed)
}

/// Removes temporary files; those of the loader's own programs are on the ESP in any case. Returns how many bytes they had.
pub fn remove_unfinished(context: &BootContext) -> Result<u64> {
    let (root, esp) = (boot_root(context), &context.esp);
    let folders = [(root, ENTRIES), (root, STORE), (esp, "loader"), (esp, "EFI/systemd"), (esp, "EFI/BOOT")];
    folders.into_iter().map(|(root, folder)| remove_temporaries(root, folder)).sum()
}

/// Bytes of the files that a sweep would remove, but for those that `plan` needs again.
pub fn reclaimable(context: &BootContext, keep: &BTreeSet<DeploymentId>, plan: &BootPlan) -> Result<u64> {
    let root = boot_root(context);
    let menu = Menu::load(root)?;
    let gone = leaving(&menu, keep).map(|found| &found.file).collect();
    let mut needed = needed_folders(root, &gone)?;
    needed.extend(folders_of(plan));
    unneeded(root, &needed)?.iter().map(|folder| bytes_below(root, folder)).sum()
}

/// Entries that go.
fn leaving<'a>(menu: &'a Menu, keep: &BTreeSet<DeploymentId>) -> impl Iterator<Item = &'a Found> {
    let default = menu.default_entry().map(|found| &found.file);
    let stays = |found: &&Found| keep.contains(found.deployment()) || Some(&found.file) == default;
    let staying: BTreeSet<&String> = menu.effective().filter(stays).map(|found| &found.file).collect();
    menu.ours.iter().filter(move |found| !staying.contains(&found.file))
}

fn remove_entry(root: &Root, found: &Found, removed: &mut Removed) -> Result<()> {
    if root.remove_file(&found.path())? {
        removed.items.push(found.file.clone());
    }
    Ok(())
}

/// Removes folders of ours that no entry names: neither one of ours nor a foreign one (a copy that an administrator made).
fn sweep_store(root: &Root, removed: &mut Removed) -> Result<()> {
    let needed = needed_folders(root, &BTreeSet::new())?;
    for folder in unneeded(root, &needed)? {
        removed.bytes += bytes_below(root, &folder)?;
        if remove_folder(root, &folder)? {
            removed.items.push(folder);
        }
    }
    Ok(())
}

/// Folders of ours that are not in `needed`.
fn unneeded(root: &Root, needed: &BTreeSet<String>) -> Result<Vec<String>> {
    let names = root.list(STORE)?.into_iter().filter(|name| !name.starts_with(TEMPORARY_PREFIX));
    let folders = names.map(|name| format!("{STORE}/{name}"));
    Ok(folders.filter(|folder| !needed.contains(&folder.to_ascii_lowercase())).collect())
}

/// Folders that entry files name, apart from those in `gone`.
fn needed_folders(root: &Root, gone: &BTreeSet<&String>) -> Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for file in root.list(ENTRIES)?.into_iter().filter(|file| !gone.contains(file)) {
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
