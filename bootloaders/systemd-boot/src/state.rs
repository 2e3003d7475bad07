//! What is published, for core.

use bootwright_core::{
    Result,
    bls::{Entry, EntryName, Program},
    boot_files::addon_cmdline,
    context::BootContext,
    efi::{self, EfiVariables, LOADER_VENDOR},
    fs::Root,
    model::{BootState, DeploymentId, EntryId, KernelCmdline, PublishedEntry},
    uki::UkiInfo,
};

use crate::{
    boot_root, choice,
    menu::{Found, Menu, relative},
    names::EntryStem,
};

/// The variable by which one boot is asked for.
pub const ONE_SHOT: &str = "LoaderEntryOneShot";
/// The variable by which the loader says what it started (systemd, "The Boot Loader Interface").
const SELECTED: &str = "LoaderEntrySelected";
const UKI_FOLDER: &str = "EFI/Linux";

/// Reads entries and variables.
pub fn read(context: &BootContext) -> Result<BootState> {
    let root = boot_root(context);
    let menu = Menu::load(root)?;
    Ok(BootState {
        generation: menu.ours.iter().map(|found| found.stem.generation).max().unwrap_or(0),
        entries: menu.effective().map(|found| published(root, found)).collect(),
        one_shot: one_shot(&*context.efi, &menu)?.map(|found| found.id.clone()),
        started: started(&*context.efi)?,
        choice: choice::choice(context, &menu)?,
        also_bootable: std::collections::BTreeSet::default(),
        foreign: foreign(context, &menu)?,
    })
}

fn published(root: &Root, found: &Found) -> PublishedEntry {
    let entry = &found.item.entry;
    let (cmdline, unreadable) = match cmdline(root, entry) {
        Ok(line) => (Some(line), None),
        Err(error) => (None, Some(error.to_string())),
    };
    PublishedEntry {
        id: found.id.clone(),
        deployment: found.deployment().clone(),
        title: entry.title.clone().unwrap_or_else(|| found.id.to_string()),
        version: entry.version.clone(),
        cmdline,
        tries_left: found.item.name.tries.map(|tries| tries.left),
        tries_done: found.item.name.tries.map(|tries| tries.done),
        problem: found.problem.clone().or(unreadable),
    }
}

/// The options, or for a UKI without options what it embeds and its addons append.
fn cmdline(root: &Root, entry: &Entry) -> Result<KernelCmdline> {
    let path = match &entry.program {
        Some(Program::Efi(path) | Program::Uki(path)) if entry.options.is_empty() => relative(path),
        _ => return Ok(entry.cmdline()),
    };
    let Some(mut file) = root.open_file(&path)? else { return Ok(KernelCmdline::new()) };
    let mut line = UkiInfo::from_reader(&mut file)?.cmdline();
    addon_cmdline(root, &path)?.iter().for_each(|arg| line.push(arg.clone()));
    Ok(line)
}

/// The entry that is set to boot once, if it is one of ours.
pub fn one_shot<'a>(efi: &dyn EfiVariables, menu: &'a Menu) -> Result<Option<&'a Found>> {
    Ok(variable_entry(efi, ONE_SHOT)?.and_then(|id| menu.by_id(&id)))
}

/// What the loader says that it started, also if that has another entry by now.
fn started(efi: &dyn EfiVariables) -> Result<Option<DeploymentId>> {
    let entry = variable_entry(efi, SELECTED)?;
    Ok(entry.and_then(|id| EntryStem::parse(id.as_str())).map(|stem| stem.deployment))
}

/// The entry id in a variable that names one; whatever is malformed counts as none.
pub fn variable_entry(efi: &dyn EfiVariables, name: &str) -> Result<Option<EntryId>> {
    let text = efi::read_text(efi, LOADER_VENDOR, name)?.unwrap_or_default().to_ascii_lowercase();
    Ok(EntryName::parse(&text).and_then(|name| EntryId::new(name.stem).ok()))
}

/// Entries of others: on either partition, and the UKIs that the loader finds by itself.
fn foreign(context: &BootContext, menu: &Menu) -> Result<Vec<String>> {
    let mut names = menu.foreign.clone();
    if context.xbootldr.is_some() {
        let on_esp = Menu::load(&context.esp)?;
        names.extend(on_esp.foreign);
        names.extend(on_esp.ours.into_iter().map(|found| found.file));
    }
    for root in std::iter::once(&context.esp).chain(&context.xbootldr) {
        let ukis = root.list(UKI_FOLDER)?;
        let visible = |name: &String| !name.starts_with('.') && name.to_ascii_lowercase().ends_with(".efi");
        names.extend(ukis.into_iter().filter(visible).map(|name| format!("{UKI_FOLDER}/{name}")));
    }
    Ok(names)
}
