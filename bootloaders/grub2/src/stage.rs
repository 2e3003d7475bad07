//! Staging: everything but the rename.

use std::collections::{BTreeMap, BTreeSet};

use bootwright_core::{
    Error, Result,
    context::BootContext,
    fs::{ReplaceStyle, Root},
    model::{BootPlan, DeploymentId, EntryId, EntrySpec, PlannedEntry},
    tree::BlobSource,
};

use crate::{
    entry::{Counter, EntryRecord},
    env_block::EnvBlock,
    files,
    menu::{CONFIG, ENV, Menu},
    places::{self, Place},
    script::{PlanLine, render},
};

/// What the commit has to do.
#[derive(Debug)]
pub struct Token {
    /// The new configuration, under its temporary name.
    pub temporary: String,
}

/// Writes files and the configuration of `plan` where nothing reads them.
pub async fn stage(context: &BootContext, plan: &BootPlan, blobs: &dyn BlobSource) -> Result<Token> {
    let menu = Menu::load(&context.esp)?;
    check(plan, &menu)?;
    let mut written = Vec::new();
    let staged = write_all(context, plan, &menu, blobs, &mut written).await;
    if staged.is_err() {
        for (place, path) in written.iter().rev() {
            remove_with_folder(context, *place, path);
        }
    }
    staged
}

async fn write_all(
    context: &BootContext,
    plan: &BootPlan,
    menu: &Menu,
    blobs: &dyn BlobSource,
    written: &mut Vec<(Place, String)>,
) -> Result<Token> {
    let mut entries = Vec::new();
    for (rank, planned) in plan.entries.iter().enumerate() {
        entries.push(match planned {
            PlannedEntry::Keep(id) => kept(context, menu, id, plan.generation, rank)?,
            PlannedEntry::Add(spec) => added(context, spec, plan.generation, rank, blobs, written).await?,
        });
    }
    // GRUB must find every file before it is told of them.
    for place in written.iter().map(|(place, _)| *place).collect::<BTreeSet<_>>() {
        places::settle(place.require(context)?)?;
    }
    let line = PlanLine {
        generation: plan.generation,
        entries: entries.len(),
        once: plan.one_shot.as_ref().map(|id| find(menu, id).map(|entry| entry.id.clone())).transpose()?,
    };
    let text = configuration(context, &line, &entries)?;
    ensure_env(&context.esp)?;
    let temporary = context.esp.write_temporary(CONFIG, text.as_bytes())?;
    Ok(Token { temporary })
}

/// The text of a configuration.
pub fn configuration(context: &BootContext, line: &PlanLine, entries: &[EntryRecord]) -> Result<String> {
    let mut markers = BTreeMap::new();
    for place in entries.iter().map(|entry| entry.place).filter(|place| *place != Place::Esp) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = markers.entry(place) {
            vacant.insert(places::marker(context, place)?);
        }
    }
    render(line, entries, &markers)
}

/// Makes the environment block, or a new one in the place of a damaged one, to which GRUB could not save.
pub fn ensure_env(esp: &Root) -> Result<()> {
    let present = EnvBlock::parse(&esp.read(ENV)?.unwrap_or_default());
    if present.is_valid() {
        return Ok(());
    }
    write_env(esp, &present)
}

/// Replaces the environment block.
pub fn write_env(esp: &Root, block: &EnvBlock) -> Result<()> {
    let bytes = block.to_bytes().or_else(|| EnvBlock::new().to_bytes()).unwrap_or_default();
    esp.replace(ENV, &bytes, ReplaceStyle::Durable)
}

/// Refuses plans that cannot be carried out, before anything is touched.
fn check(plan: &BootPlan, menu: &Menu) -> Result<()> {
    if plan.entries.is_empty() {
        return Err(Error::invalid("a boot plan needs at least one entry"));
    }
    let newest = menu.plan.generation;
    if plan.generation <= newest {
        return Err(Error::invalid(format!(
            "boot plan {} is not newer than what is published ({newest})",
            plan.generation
        )));
    }
    let mut seen: BTreeSet<&DeploymentId> = BTreeSet::new();
    for planned in &plan.entries {
        let deployment = match planned {
            PlannedEntry::Keep(id) => &find(menu, id)?.deployment,
            PlannedEntry::Add(spec) => &spec.deployment,
        };
        if !seen.insert(deployment) {
            return Err(Error::invalid(format!("deployment {deployment} stands twice in one boot plan")));
        }
    }
    if let Some(id) = &plan.one_shot
        && !seen.contains(&find(menu, id)?.deployment)
    {
        return Err(Error::invalid(format!("the entry {id} is to boot once, but is not in the plan")));
    }
    Ok(())
}

fn find<'a>(menu: &'a Menu, id: &EntryId) -> Result<&'a EntryRecord> {
    menu.by_id(id).ok_or_else(|| Error::not_found(format!("there is no boot entry {id}")))
}

fn kept(
    context: &BootContext,
    menu: &Menu,
    id: &EntryId,
    generation: u64,
    rank: usize,
) -> Result<EntryRecord> {
    let entry = find(menu, id)?;
    if rank == 0 {
        files::verify(entry.place.require(context)?, entry)?;
    }
    let counter = match entry.tries_left(&menu.env) {
        None => None,
        // Whoever asks for an exhausted entry means it; but once it must do, it has failed before.
        Some(0) if rank == 0 => Some(Counter::new(generation, rank, 1)),
        Some(_) => entry.counter.clone(),
    };
    Ok(EntryRecord { counter, ..entry.clone() })
}

async fn added(
    context: &BootContext,
    spec: &EntrySpec,
    generation: u64,
    rank: usize,
    blobs: &dyn BlobSource,
    written: &mut Vec<(Place, String)>,
) -> Result<EntryRecord> {
    let (cmdline, with_arguments) = files::command_line(context, spec, blobs).await?;
    let kernel = &spec.artifacts.kernel;
    let place = files::place_of(context, kernel)?;
    places::make_marker(place.require(context)?, place)?;
    Ok(EntryRecord {
        id: EntryId::new(format!("bw{generation}-{}", spec.deployment))?,
        deployment: spec.deployment.clone(),
        title: spec.title.clone(),
        version: spec.version.clone(),
        place,
        program: files::place_files(context, place, kernel, with_arguments, blobs, written).await?,
        cmdline,
        counter: spec.tries.map(|tries| Counter::new(generation, rank, tries)),
    })
}

/// Removes a file that was staged, and its folder if nothing else is in it. Best effort: `sweep` finds what is left.
fn remove_with_folder(context: &BootContext, place: Place, path: &str) {
    let Some(root) = place.root(context) else { return };
    let _ = root.remove_file(path);
    if let Some((folder, _)) = path.rsplit_once('/')
        && root.list(folder).is_ok_and(|names| names.is_empty())
    {
        let _ = root.remove_dir_all(folder);
    }
}
