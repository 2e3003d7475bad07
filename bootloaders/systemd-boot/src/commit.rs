//! The switch, and what proves it good.

use bootwright_core::{
    Effect, Error, Result,
    bls::EntryName,
    context::BootContext,
    efi::{EfiVariables, LOADER_VENDOR},
    fs::{ReplaceStyle, Root},
    model::{DeploymentId, EntryId},
};

use crate::{
    boot_root, choice,
    menu::{Found, Menu},
    names::ENTRIES,
    stage::Token,
    state::{ONE_SHOT, one_shot, variable_entry},
};

/// Makes the staged plan the one that boots.
///
/// # Crash
/// Before the first rename: the old default. After it: the new one, or what somebody chose before, as long as that was not taken back. Behind the
/// default, entries that change places follow one by one, and a one-shot boot is set last.
pub fn commit(context: &BootContext, token: &Token) -> Result<()> {
    let root = boot_root(context);
    let (temporary, path) = &token.switch;
    // The rename has happened if it was only the sync after it that failed.
    let effect = |error: Error| {
        let happened = root.exists(path) && !root.exists(temporary);
        error.with_effect(if happened { Effect::Committed } else { Effect::None })
    };
    root.move_into_place(temporary, path, ReplaceStyle::Durable).map_err(effect)?;
    finish(context, token).map_err(|error| error.with_effect(Effect::Committed))
}

fn finish(context: &BootContext, token: &Token) -> Result<()> {
    let root = boot_root(context);
    if let Some(published) = &token.new_default {
        choice::give_up(&*context.efi, root, published)?;
    }
    for (temporary, path) in &token.after {
        root.move_into_place(temporary, path, ReplaceStyle::Durable)?;
    }
    set_one_shot(&*context.efi, root, token.one_shot.as_ref())
}

/// Sets the one-shot variable, or deletes it if it names one of ours that the new plan does not ask for.
fn set_one_shot(efi: &dyn EfiVariables, root: &Root, wanted: Option<&EntryId>) -> Result<()> {
    match wanted {
        Some(id) => {
            let name = EntryName::new(id.as_str()).id();
            let value: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
            efi.write(LOADER_VENDOR, ONE_SHOT, &value)
        }
        None if one_shot(efi, &Menu::load(root)?)?.is_some() => efi.delete(LOADER_VENDOR, ONE_SHOT),
        None => Ok(()),
    }
}

/// Takes the counter off the entry that has proved good.
///
/// Which one, if a deployment has several: the one that the loader says it started, else the newest. The last try of an entry
/// runs with no tries left, so that an exhausted one is blessed too.
///
/// # Crash
/// The entry is there with its counter, or without, or in both ways; the next call, or a sweep, leaves one of them.
pub fn confirm(context: &BootContext, deployment: &DeploymentId) -> Result<()> {
    let root = boot_root(context);
    let menu = Menu::load(root)?;
    let mut candidates: Vec<&Found> =
        menu.ours.iter().filter(|found| found.deployment() == deployment).collect();
    candidates
        .sort_by_key(|found| (std::cmp::Reverse(found.stem.generation), found.item.name.tries.is_none()));
    let started = variable_entry(&*context.efi, "LoaderEntrySelected")?;
    let chosen = candidates.iter().find(|found| Some(&found.id) == started.as_ref()).or(candidates.first());
    match chosen {
        Some(found) if found.item.name.tries.is_some() => bless(root, found),
        _ => Ok(()),
    }
}

/// A copy, and then the original removed: a rename writes several sectors of the folder of a FAT, and a power cut between them showed the old name
/// gone and the new one not yet complete.
fn bless(root: &Root, found: &Found) -> Result<()> {
    let blessed = format!("{ENTRIES}/{}", found.item.name.id());
    let content = root.read(&found.path())?;
    let content = content.ok_or_else(|| Error::not_found(format!("{} is gone", root.show(&found.path()))))?;
    root.replace(&blessed, &content, ReplaceStyle::Durable)?;
    root.remove_file(&found.path())?;
    root.sync_path(&blessed)
}
