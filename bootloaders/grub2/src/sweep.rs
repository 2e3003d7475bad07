//! Removing what nothing needs any more.

use std::collections::BTreeSet;

use bootwright_core::{
    Error, Result,
    boot_files::remove_temporaries,
    context::BootContext,
    fs::{ReplaceStyle, Root},
    model::{DeploymentId, Removed},
};

use crate::{
    entry::EntryRecord,
    menu::{CONFIG, FOLDER, Menu},
    places::{Place, is_marker},
    script::{ONCE, PlanLine},
    stage::{configuration, write_env},
};

/// Removes entries, then variables, then files.
///
/// # Crash
/// The configuration without the entries is durable before any file is removed: no entry is left without its files.
pub fn sweep(context: &BootContext, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
    if keep.is_empty() {
        return Err(Error::invalid("refusing to remove every boot entry: nothing was named to be kept"));
    }
    let menu = Menu::load(&context.esp)?;
    let mut removed = Removed::default();
    // A damaged record does not say what all the files are for.
    if menu.damaged {
        return Ok(removed);
    }
    let default = menu.preferred().next().map(|entry| entry.id.clone());
    let stays = |entry: &EntryRecord| keep.contains(&entry.deployment) || Some(&entry.id) == default.as_ref();
    let (staying, leaving): (Vec<_>, Vec<_>) = menu.entries.iter().cloned().partition(stays);
    if !leaving.is_empty() {
        let once = menu.plan.once.clone().filter(|id| staying.iter().any(|entry| &entry.id == id));
        let line = PlanLine { entries: staying.len(), once, ..menu.plan };
        let text = configuration(context, &line, &staying)?;
        context.esp.replace(CONFIG, text.as_bytes(), ReplaceStyle::Durable)?;
        removed.items.extend(leaving.iter().map(|entry| entry.id.to_string()));
    }
    sweep_env(context, &menu, &staying)?;
    for place in Place::ALL {
        if let Some(root) = place.root(context) {
            sweep_store(context, root, place, &staying, &mut removed)?;
        }
    }
    for folder in [FOLDER, "EFI/BOOT"] {
        removed.bytes += remove_temporaries(&context.esp, folder)?;
    }
    Ok(removed)
}

/// Forgets the counters of entries that are gone.
fn sweep_env(context: &BootContext, menu: &Menu, staying: &[EntryRecord]) -> Result<()> {
    let counters = staying.iter().filter_map(|entry| entry.counter.as_ref());
    let needed: BTreeSet<&str> = counters.map(|counter| counter.variable.as_str()).chain([ONCE]).collect();
    let mut env = menu.env.clone();
    env.retain(|name| !name.starts_with("bw_tries_") || needed.contains(name));
    if env == menu.env { Ok(()) } else { write_env(&context.esp, &env) }
}

/// Removes folders of ours that no entry names, nor anything that an administrator has written.
fn sweep_store(
    context: &BootContext,
    root: &Root,
    place: Place,
    staying: &[EntryRecord],
    removed: &mut Removed,
) -> Result<()> {
    let store = place.store();
    let by_hand = context.esp.read_text(&format!("{FOLDER}/custom.cfg")).ok().flatten().unwrap_or_default();
    let needed = |name: &str| {
        let folder = format!("/{store}/{name}/");
        let here = staying.iter().filter(|entry| entry.place == place);
        here.flat_map(|entry| entry.program.paths()).any(|path| path.starts_with(&folder))
            || by_hand.contains(name)
    };
    for name in root.list(&store)? {
        let folder = format!("{store}/{name}");
        if is_marker(&name) {
            continue;
        }
        if needed(&name) {
            removed.bytes += remove_temporaries(root, &folder)?;
            continue;
        }
        for file in root.list(&folder).unwrap_or_default() {
            removed.bytes += root.size_of(&format!("{folder}/{file}"))?.unwrap_or(0);
        }
        if root.dir().is_dir(&folder) {
            root.remove_dir_all(&folder)?
        } else {
            root.remove_file(&folder)?
        };
        removed.items.push(folder);
    }
    Ok(())
}
