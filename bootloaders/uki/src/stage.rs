//! Staging: files, copies and notes; nothing that boots.

use std::collections::BTreeSet;

use bootwright_core::{
    Error, Result,
    boot_files::{addon_digests, addon_folder, encode_id},
    context::BootContext,
    fs::Root,
    model::{BootPlan, Digest, EntryId, PlannedEntry},
    tree::{BlobSource, TreeReader},
};

use crate::{
    build::{PlacedUki, place_uki},
    names::{FOLDER, UkiName},
    plans::{Line, Notes, PlanNote},
    removable::{Removable, can_switch, prepare_addons, stage_copy},
    seen::Seen,
    trial::Tries,
};

/// How the plan takes effect.
#[derive(Debug)]
pub enum Switch {
    /// By `BootOrder`, or by `BootNext` for a trial.
    Firmware {
        /// How often the default may be started until it has to prove good; `None` if it is no trial.
        trial: Option<Tries>,
    },
    /// By renaming this copy over the removable-media path.
    Removable(String),
    /// What boots stays the same: only the notes change.
    NotesOnly(Notes),
}

/// What the commit has to do.
#[derive(Debug)]
pub struct Token {
    /// The plan's generation.
    pub generation: u64,
    /// UKIs and titles in order.
    pub lines: Vec<(UkiName, String)>,
    /// The entry to boot once.
    pub one_shot: Option<UkiName>,
    /// How it takes effect.
    pub switch: Switch,
}

/// Prepares `plan`.
pub async fn stage(
    context: &BootContext,
    plan: &BootPlan,
    blobs: &dyn BlobSource,
    tree: Option<&dyn TreeReader>,
) -> Result<Token> {
    let seen = Seen::load(context)?;
    check(plan, &seen)?;
    let mut written = Vec::new();
    let staged = write_all(context, plan, &seen, blobs, tree, &mut written).await;
    if staged.is_err() {
        for path in written.iter().rev() {
            remove_with_folder(&context.esp, path);
        }
    }
    staged
}

async fn write_all(
    context: &BootContext,
    plan: &BootPlan,
    seen: &Seen,
    blobs: &dyn BlobSource,
    tree: Option<&dyn TreeReader>,
    written: &mut Vec<String>,
) -> Result<Token> {
    let mut lines = Vec::new();
    for (rank, planned) in plan.entries.iter().enumerate() {
        lines.push(match planned {
            PlannedEntry::Keep(id) => kept(context, seen, id, rank)?,
            PlannedEntry::Add(spec) => {
                let PlacedUki { name, digest, addons } =
                    place_uki(context, spec, blobs, tree, written).await?;
                let line = Line::new(&name, digest, spec.title.clone(), spec.version.clone());
                (name, line.with_addons(addons))
            }
        });
    }
    let default = lines.first().map(|(name, _)| name.clone()).ok_or_else(no_entry)?;
    let entries = lines.iter().map(|(_, line)| line.clone()).collect();
    let mut notes = seen.notes.clone();
    notes.add(PlanNote { generation: plan.generation, entries }, seen.generation());
    let switch = if seen.firmware.is_some() {
        notes.store(&context.esp)?;
        Switch::Firmware { trial: trial_of(plan, seen) }
    } else {
        stage_removable(&context.esp, seen, &default, notes, written)?
    };
    let one_shot = plan.one_shot.as_ref().and_then(|id| Some(seen.by_id(id)?.name));
    let lines = lines.into_iter().map(|(name, line)| (name, line.title)).collect();
    Ok(Token { generation: plan.generation, lines, one_shot, switch })
}

fn stage_removable(
    esp: &Root,
    seen: &Seen,
    default: &UkiName,
    notes: Notes,
    written: &mut Vec<String>,
) -> Result<Switch> {
    if !can_switch(esp, default, &seen.removable)? {
        return Err(cannot_switch(seen, esp));
    }
    prepare_addons(esp, default, &seen.removable)?;
    match stage_copy(esp, default, &seen.removable)? {
        Some(temporary) => {
            written.push(temporary.clone());
            notes.store(esp)?;
            Ok(Switch::Removable(temporary))
        }
        // With the notes in place the new plan would be in force already: they are the switch then.
        None => Ok(Switch::NotesOnly(notes)),
    }
}

fn cannot_switch(seen: &Seen, esp: &Root) -> Error {
    let path = esp.show(&bootwright_core::boot_files::removable_path());
    if seen.removable == Removable::Foreign {
        return Error::invalid(format!("{path} belongs to another loader"))
            .with_hint("without the firmware's variables that path is what boots: move the file away first");
    }
    Error::unsupported(format!("{path} is loaded with other addons, and both cannot be replaced in one step"))
        .with_hint("run the command on the machine itself, where the firmware's boot order is at hand")
}

/// How the default is tried. One that is kept and has not proved good stays on trial, if there is something to fall back to.
fn trial_of(plan: &BootPlan, seen: &Seen) -> Option<Tries> {
    match plan.entries.first()? {
        PlannedEntry::Add(spec) => spec.tries.map(|left| Tries { left, done: 0 }),
        PlannedEntry::Keep(id) => {
            let tries = seen.by_id(id)?.tries.filter(|tries| tries.left > 0);
            tries.filter(|_| seen.base.iter().any(|listed| listed.problem.is_none()))
        }
    }
}

fn no_entry() -> Error {
    Error::invalid("a boot plan needs at least one entry")
}

/// Refuses plans that cannot be carried out, before anything is touched.
fn check(plan: &BootPlan, seen: &Seen) -> Result<()> {
    let published = seen.generation();
    if plan.entries.is_empty() {
        return Err(no_entry());
    }
    if plan.generation <= published {
        return Err(Error::invalid(format!(
            "boot plan {} is not newer than what is published ({published})",
            plan.generation
        )));
    }
    let counted = plan.entries.iter().any(|e| matches!(e, PlannedEntry::Add(spec) if spec.tries.is_some()));
    if seen.firmware.is_none() && (counted || plan.one_shot.is_some()) {
        return Err(Error::unsupported("trying an entry once needs the firmware's EFI variables")
            .with_hint("do it on the running machine, started in UEFI mode"));
    }
    if trial_of(plan, seen).is_some() && plan.one_shot.is_some() {
        return Err(Error::unsupported("the firmware can try only one entry at the next boot"));
    }
    let mut deployments = BTreeSet::new();
    for planned in &plan.entries {
        let deployment = match planned {
            PlannedEntry::Keep(id) => find(seen, id)?.deployment,
            PlannedEntry::Add(spec) => spec.deployment.clone(),
        };
        if !deployments.insert(encode_id(&deployment)) {
            return Err(Error::invalid(format!("deployment {deployment} stands twice in one boot plan")));
        }
    }
    plan.one_shot.as_ref().map_or(Ok(()), |id| find(seen, id).map(drop))
}

fn find(seen: &Seen, id: &EntryId) -> Result<UkiName> {
    let listed = seen.by_id(id);
    Ok(listed.ok_or_else(|| Error::not_found(format!("there is no boot entry {id}")))?.name)
}

/// An entry that stays. The default's file is checked against its digest first: a damaged kernel section would hang the firmware.
fn kept(context: &BootContext, seen: &Seen, id: &EntryId, rank: usize) -> Result<(UkiName, Line)> {
    let name = find(seen, id)?;
    let path = name.path();
    let note = seen.notes.line(&name);
    let known = note.map(|line| line.sha256.clone()).filter(|_| rank > 0);
    let digest = match known {
        Some(digest) => Some(digest),
        None => context.esp.sha256_of(&path)?,
    };
    let good = |digest: &Digest| match note {
        Some(line) => &line.sha256 == digest,
        None => name.is_tag_of(digest) || context.esp.exists(&addon_folder(&path)),
    };
    let digest = digest.filter(|digest| rank > 0 || good(digest)).ok_or_else(|| {
        Error::integrity(format!("{} is missing or damaged", context.esp.show(&path)))
            .with_hint("choose another deployment, or deploy this image again")
    })?;
    let entry = crate::state::describe(&context.esp, seen, &name);
    let addons = match note {
        Some(note) => note.addons.clone(),
        None => addons_on_disk(&context.esp, &path)?,
    };
    Ok((name.clone(), Line::new(&name, digest, entry.0, entry.1).with_addons(addons)))
}

fn addons_on_disk(esp: &Root, uki: &str) -> Result<Vec<(String, Digest)>> {
    let found = addon_digests(esp, uki)?.into_iter();
    Ok(found.filter_map(|(name, digest)| Some((name, digest?))).collect())
}

/// Removes a file that was staged, and its addon folder if nothing else is in it. Best effort: `sweep` finds what is left.
fn remove_with_folder(esp: &Root, path: &str) {
    let _ = esp.remove_file(path);
    let Some((folder, _)) = path.rsplit_once('/') else { return };
    let ours = folder.starts_with(&format!("{FOLDER}/")) && folder.ends_with(".extra.d");
    if ours && esp.list(folder).is_ok_and(|names| names.is_empty()) {
        let _ = esp.remove_dir_all(folder);
    }
}
