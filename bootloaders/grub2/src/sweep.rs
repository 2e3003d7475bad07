//! Removing what nothing needs any more.

use std::collections::{BTreeMap, BTreeSet};

use bootwright_core::{
    Error, Result,
    boot_files::{remove_folder, remove_temporaries},
    context::BootContext,
    fs::{ReplaceStyle, Root, TEMPORARY_PREFIX},
    model::{BootPlan, DeploymentId, Removed},
};

use crate::{
    entry::EntryRecord,
    files::folders_of,
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
    let mut removed = Removed { bytes: remove_unfinished(context)?, ..Removed::default() };
    // A damaged record does not say what all the files are for.
    if menu.damaged {
        return Ok(removed);
    }
    let (staying, leaving) = parted(&menu, keep);
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
    Ok(removed)
}

/// Removes temporary files, on each file system that has files of ours. Returns how many bytes they had.
pub fn remove_unfinished(context: &BootContext) -> Result<u64> {
    let stores = Place::ALL.into_iter().filter_map(|place| Some((place.root(context)?, place.store())));
    let own = [FOLDER, "EFI/BOOT"].map(|folder| (&context.esp, folder.to_owned()));
    stores.chain(own).map(|(root, folder)| remove_temporaries(root, &folder)).sum()
}

/// Forgets the counters of entries that are gone.
fn sweep_env(context: &BootContext, menu: &Menu, staying: &[EntryRecord]) -> Result<()> {
    let counters = staying.iter().filter_map(|entry| entry.counter.as_ref());
    let needed: BTreeSet<&str> = counters.map(|counter| counter.variable.as_str()).chain([ONCE]).collect();
    let mut env = menu.env.clone();
    env.retain(|name| !name.starts_with("bw_tries_") || needed.contains(name));
    if env == menu.env { Ok(()) } else { write_env(&context.esp, &env) }
}

/// Bytes of the files that a sweep would remove on each file system, but for those that `plan` needs again.
pub fn reclaimable(
    context: &BootContext,
    keep: &BTreeSet<DeploymentId>,
    plan: &BootPlan,
) -> Result<BTreeMap<String, u64>> {
    let menu = Menu::load(&context.esp)?;
    let mut freed = BTreeMap::new();
    if menu.damaged {
        return Ok(freed);
    }
    let (staying, _) = parted(&menu, keep);
    let again = folders_of(plan);
    for place in Place::ALL {
        let Some(root) = place.root(context) else { continue };
        let going = unneeded(context, root, place, &staying)?;
        let going = going.iter().filter(|name| !again.contains(*name));
        let bytes =
            going.map(|name| bytes_in(root, &format!("{}/{name}", place.store()))).sum::<Result<u64>>()?;
        freed.insert(place.name().to_owned(), bytes);
    }
    Ok(freed)
}

/// Entries that stay, and those that go.
fn parted(menu: &Menu, keep: &BTreeSet<DeploymentId>) -> (Vec<EntryRecord>, Vec<EntryRecord>) {
    let default = menu.preferred().next().map(|entry| entry.id.clone());
    let stays = |entry: &EntryRecord| keep.contains(&entry.deployment) || Some(&entry.id) == default.as_ref();
    menu.entries.iter().cloned().partition(stays)
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
    for name in unneeded(context, root, place, staying)? {
        let folder = format!("{store}/{name}");
        removed.bytes += bytes_in(root, &folder)?;
        let gone = if root.dir().is_dir(&folder) {
            remove_folder(root, &folder)?
        } else {
            root.remove_file(&folder)?
        };
        removed.items.extend(gone.then_some(folder));
    }
    Ok(())
}

/// Names in our folder that neither an entry nor an administrator's configuration has.
fn unneeded(
    context: &BootContext,
    root: &Root,
    place: Place,
    staying: &[EntryRecord],
) -> Result<Vec<String>> {
    let store = place.store();
    let by_hand = context.esp.read_text(&format!("{FOLDER}/custom.cfg")).ok().flatten().unwrap_or_default();
    let needed = |name: &String| {
        let folder = format!("/{store}/{name}/");
        let here = staying.iter().filter(|entry| entry.place == place);
        here.flat_map(|entry| entry.program.paths()).any(|path| path.starts_with(&folder))
            || by_hand.contains(name.as_str())
    };
    let spared = |name: &String| is_marker(name) || name.starts_with(TEMPORARY_PREFIX) || needed(name);
    Ok(root.list(&store)?.into_iter().filter(|name| !spared(name)).collect())
}

fn bytes_in(root: &Root, folder: &str) -> Result<u64> {
    let files = root.list(folder).unwrap_or_default().into_iter();
    files.map(|file| Ok(root.size_of(&format!("{folder}/{file}"))?.unwrap_or(0))).sum()
}
