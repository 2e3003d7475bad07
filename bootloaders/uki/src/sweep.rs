//! Removing what nothing needs any more.

use std::collections::BTreeSet;

use bootwright_core::{
    Error, Result,
    boot_files::{addon_folder, removable_path, remove_folder, remove_temporaries},
    context::BootContext,
    fs::Root,
    model::{DeploymentId, Removed},
};

use crate::{
    firmware::Firmware,
    names::{FOLDER, UkiName, list},
    plans::NOTES_FOLDER,
    removable::refresh,
    seen::{Listed, Seen, missing},
};

/// Removes options, then files.
///
/// # Crash
/// An option leaves `BootOrder` before it is deleted, and is deleted before its file.
pub fn sweep(context: &BootContext, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
    if keep.is_empty() {
        return Err(Error::invalid("refusing to remove every boot entry: nothing was named to be kept"));
    }
    let mut removed = Removed { bytes: remove_unfinished(&context.esp)?, ..Removed::default() };
    let seen = Seen::load(context)?;
    if seen.firmware.is_some() {
        sweep_options(context, &staying(&context.esp, &seen, keep), &mut removed)?;
    }
    let default = seen.base.first().filter(|first| seen.by_order && first.problem.is_none());
    if let Some(default) = default {
        refresh(&context.esp, &seen.notes, &default.name)?;
    }
    sweep_files(&context.esp, &needed(&context.esp, &seen, keep), &mut removed)?;
    Ok(removed)
}

/// Bytes of the UKIs and addons that a sweep would remove.
pub fn reclaimable(context: &BootContext, keep: &BTreeSet<DeploymentId>) -> Result<u64> {
    let esp = &context.esp;
    let needed = needed(esp, &Seen::load(context)?, keep);
    let mut bytes = 0;
    for name in unneeded(esp, &needed)? {
        let (path, addons) = (name.path(), addon_folder(&name.path()));
        let beside = esp.list(&addons)?.into_iter().map(|file| format!("{addons}/{file}"));
        for file in std::iter::once(path).chain(beside) {
            bytes += esp.size_of(&file)?.unwrap_or(0);
        }
    }
    Ok(bytes)
}

/// UKIs of the entries that stay, and those behind a trial.
fn needed(esp: &Root, seen: &Seen, keep: &BTreeSet<DeploymentId>) -> BTreeSet<UkiName> {
    let planned = seen.behind_trial(esp).into_iter().filter(|name| keep.contains(&name.deployment));
    staying(esp, seen, keep).into_iter().map(|listed| listed.name).chain(planned).collect()
}

fn unneeded(esp: &Root, needed: &BTreeSet<UkiName>) -> Result<Vec<UkiName>> {
    Ok(list(esp)?.into_iter().filter(|name| !needed.contains(name)).collect())
}

/// Entries that stay: those of `keep`, and in any case what boots next, with a trial and without.
fn staying(esp: &Root, seen: &Seen, keep: &BTreeSet<DeploymentId>) -> Vec<Listed> {
    let entries = seen.entries();
    let defaults: Vec<_> =
        entries.first().into_iter().chain(seen.base.first()).map(|listed| listed.name.clone()).collect();
    let stays = |listed: &Listed| {
        let protected = defaults.contains(&listed.name);
        protected || (keep.contains(&listed.name.deployment) && missing(esp, &listed.name).is_none())
    };
    entries.into_iter().filter(stays).collect()
}

fn sweep_options(context: &BootContext, staying: &[Listed], removed: &mut Removed) -> Result<()> {
    let efi = &*context.efi;
    let mut firmware = Firmware::load(context)?;
    let numbers: BTreeSet<u16> = staying.iter().filter_map(|listed| listed.number).collect();
    let going: Vec<u16> = firmware.ours.keys().copied().filter(|number| !numbers.contains(number)).collect();
    let order: Vec<u16> = firmware.order.iter().copied().filter(|number| !going.contains(number)).collect();
    firmware.write_order(efi, order)?;
    if firmware.next.is_some_and(|next| going.contains(&next)) {
        firmware.write_next(efi, None)?;
    }
    for number in going {
        firmware.delete_option(efi, number)?;
        removed.items.push(bootwright_core::efi::load_option::variable_name(number));
    }
    Ok(())
}

fn sweep_files(esp: &Root, needed: &BTreeSet<UkiName>, removed: &mut Removed) -> Result<()> {
    for name in unneeded(esp, needed)? {
        let path = name.path();
        removed.bytes += esp.size_of(&path)?.unwrap_or(0);
        esp.remove_file(&path)?;
        removed.items.push(path);
    }
    sweep_addons(esp, needed, removed)
}

/// Removes temporary files. Returns how many bytes they had.
pub fn remove_unfinished(esp: &Root) -> Result<u64> {
    let copies = removable_path();
    let folders = [FOLDER, NOTES_FOLDER, copies.rsplit_once('/').map_or("", |(folder, _)| folder)];
    folders.into_iter().map(|folder| remove_temporaries(esp, folder)).sum()
}

/// Addon folders of ours whose UKI is not needed; also those that a stopped staging left without one.
fn sweep_addons(esp: &Root, needed: &BTreeSet<UkiName>, removed: &mut Removed) -> Result<()> {
    let keep: BTreeSet<String> = needed.iter().map(|name| addon_folder(&name.path())).collect();
    for file in esp.list(FOLDER)? {
        let path = format!("{FOLDER}/{file}");
        let ours = file.strip_suffix(".extra.d").and_then(UkiName::parse_file).is_some();
        if ours && !keep.contains(&path) {
            removed.items.extend(remove_folder(esp, &path)?.then_some(path));
        }
    }
    Ok(())
}
