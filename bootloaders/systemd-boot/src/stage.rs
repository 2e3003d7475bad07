//! Staging: everything but the rename.

use std::collections::BTreeSet;

use bootwright_core::{
    Error, Result,
    bls::{Entry, EntryName, Tries},
    boot_files::{encode_id, file_line, seal},
    context::BootContext,
    fs::Root,
    model::{BootPlan, DeploymentId, EntryId, PlannedEntry},
    tree::{BlobSource, TreeReader},
};

use crate::{
    boot_root,
    files::{self, FileDigests},
    menu::{Found, Menu},
    names::{ENTRIES, EntryStem, sort_key},
};

/// What the commit has to do.
#[derive(Debug)]
pub struct Token {
    /// What becomes the default, if another deployment is now.
    pub new_default: Option<DeploymentId>,
    /// The switch: temporary file and final path of the new default's entry.
    pub switch: (String, String),
    /// The same for entries that come into their place after the switch.
    pub after: Vec<(String, String)>,
    /// The entry to boot once.
    pub one_shot: Option<EntryId>,
}

/// One line of the plan, ready to be written.
struct Line {
    deployment: DeploymentId,
    entry: Entry,
    files: FileDigests,
    tries: Option<Tries>,
    /// Sort key of the file that is there already.
    present: Option<String>,
}

/// Writes files and entries for `plan` where nothing reads them.
pub async fn stage(
    context: &BootContext,
    plan: &BootPlan,
    blobs: &dyn BlobSource,
    tree: Option<&dyn TreeReader>,
) -> Result<Token> {
    let root = boot_root(context);
    let menu = Menu::load(root)?;
    check(context, plan, &menu)?;
    let mut written = Vec::new();
    let staged = write_all(context, plan, &menu, blobs, tree, &mut written).await;
    if staged.is_err() {
        for path in written.iter().rev() {
            remove_with_folder(root, path);
        }
    }
    staged
}

async fn write_all(
    context: &BootContext,
    plan: &BootPlan,
    menu: &Menu,
    blobs: &dyn BlobSource,
    tree: Option<&dyn TreeReader>,
    written: &mut Vec<String>,
) -> Result<Token> {
    let mut lines = Vec::new();
    for (rank, planned) in plan.entries.iter().enumerate() {
        lines.push(match planned {
            PlannedEntry::Keep(id) => kept(boot_root(context), menu, id, rank)?,
            PlannedEntry::Add(spec) => {
                let (entry, files) = files::place_entry(context, spec, blobs, tree, written).await?;
                let tries = spec.tries.map(|left| Tries { left, done: 0 });
                Line { deployment: spec.deployment.clone(), entry, files, tries, present: None }
            }
        });
    }
    let present = menu.ours.first().map(Found::deployment);
    let new_default =
        lines.first().map(|line| &line.deployment).filter(|next| present != Some(*next)).cloned();
    let one_shot = match &plan.one_shot {
        Some(id) => Some(one_shot_id(plan.generation, menu, &lines, id)?),
        None => None,
    };
    let mut entries = Vec::new();
    for rank in ranks_to_write(&lines) {
        if let Some(line) = lines.get(rank) {
            entries.push(write_entry(boot_root(context), plan.generation, rank, line, written)?);
        }
    }
    if entries.is_empty() {
        return Err(Error::internal("a boot plan without a default entry"));
    }
    let switch = entries.remove(0);
    Ok(Token { new_default, switch, after: entries, one_shot })
}

/// Refuses plans that cannot be carried out, before anything is touched.
fn check(context: &BootContext, plan: &BootPlan, menu: &Menu) -> Result<()> {
    if plan.entries.is_empty() {
        return Err(Error::invalid("a boot plan needs at least one entry"));
    }
    let newest = menu.ours.iter().map(|found| found.stem.generation).max().unwrap_or(0);
    if plan.generation <= newest {
        return Err(Error::invalid(format!(
            "boot plan {} is not newer than what is published ({newest})",
            plan.generation
        )));
    }
    if plan.one_shot.is_some() && !context.efi.available() {
        return Err(Error::unsupported("booting an entry once needs the firmware's EFI variables")
            .with_hint("do it on the running machine, started in UEFI mode"));
    }
    let mut seen = BTreeSet::new();
    for planned in &plan.entries {
        let deployment = match planned {
            PlannedEntry::Keep(id) => find(menu, id)?.deployment(),
            PlannedEntry::Add(spec) => &spec.deployment,
        };
        if !seen.insert(encode_id(deployment)) {
            return Err(Error::invalid(format!("deployment {deployment} stands twice in one boot plan")));
        }
    }
    Ok(())
}

fn find<'a>(menu: &'a Menu, id: &EntryId) -> Result<&'a Found> {
    menu.by_id(id).ok_or_else(|| Error::not_found(format!("there is no boot entry {id}")))
}

fn kept(root: &Root, menu: &Menu, id: &EntryId, rank: usize) -> Result<Line> {
    let found = find(menu, id)?;
    let files = match &found.files {
        Some(files) => files.clone(),
        None => files::digests_on_disk(root, &found.item.entry)?,
    };
    if rank == 0 {
        files::verify(root, &found.item.entry)?;
        files::verify_list(root, &files)?;
    }
    let exhausted = found.item.name.is_exhausted();
    Ok(Line {
        deployment: found.deployment().clone(),
        entry: found.item.entry.clone(),
        files,
        // Whoever asks for an exhausted entry means it; but once it must do, it has failed before.
        tries: if exhausted && rank == 0 { Some(Tries { left: 1, done: 0 }) } else { found.item.name.tries },
        present: found.item.entry.sort_key.clone().filter(|_| !exhausted || rank > 0),
    })
}

/// Which lines need a file: the first always; of the others those that are new, or that the files on disk would put into another order.
///
/// The files that stay form the longest tail of the plan whose sort keys ascend as they are; what is written sorts in front of it.
fn ranks_to_write(lines: &[Line]) -> Vec<usize> {
    let mut first_kept = lines.len();
    let mut next: Option<&String> = None;
    for (rank, line) in lines.iter().enumerate().skip(1).rev() {
        match &line.present {
            Some(key) if next.is_none_or(|next| key < next) => next = Some(key),
            _ => break,
        }
        first_kept = rank;
    }
    (0..first_kept).collect()
}

fn write_entry(
    root: &Root,
    generation: u64,
    rank: usize,
    line: &Line,
    written: &mut Vec<String>,
) -> Result<(String, String)> {
    let stem = EntryStem { generation, deployment: line.deployment.clone() }.print();
    // The id must be valid as such, and short enough for a file name with a counter.
    EntryId::new(stem.clone())?;
    let name = EntryName { stem, tries: line.tries };
    let entry = Entry { sort_key: Some(sort_key(generation, rank)), ..line.entry.clone() };
    let path = format!("{ENTRIES}/{name}");
    let files: String = line.files.iter().map(|(path, digest)| file_line(path, digest)).collect();
    let temporary = root.write_temporary(&path, seal(&format!("{entry}{files}")).as_bytes())?;
    written.push(temporary.clone());
    Ok((temporary, path))
}

/// The entry to boot once, by the name that it will have.
fn one_shot_id(generation: u64, menu: &Menu, lines: &[Line], id: &EntryId) -> Result<EntryId> {
    let deployment = find(menu, id)?.deployment();
    match lines.first().filter(|line| &line.deployment == deployment) {
        Some(_) => EntryId::new(EntryStem { generation, deployment: deployment.clone() }.print()),
        None => Ok(id.clone()),
    }
}

/// Removes a file that was staged, and its folder if nothing else is in it. Best effort: `sweep` finds what is left.
pub fn remove_with_folder(root: &Root, path: &str) {
    let _ = root.remove_file(path);
    let mut folder = path;
    while let Some((parent, _)) = folder.rsplit_once('/') {
        let ours = parent.starts_with(&format!("{}/", files::STORE));
        if !ours || !root.list(parent).is_ok_and(|names| names.is_empty()) {
            return;
        }
        let _ = root.remove_dir_all(parent);
        folder = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(keys: &[Option<&str>]) -> Vec<Line> {
        let line = |key: Option<&str>| Line {
            deployment: DeploymentId::new("a").unwrap(),
            entry: Entry::default(),
            files: Vec::new(),
            tries: None,
            present: key.map(ToOwned::to_owned),
        };
        keys.iter().copied().map(line).collect()
    }

    #[test]
    fn only_the_default_is_written_where_the_rest_keeps_its_order() {
        assert_eq!(ranks_to_write(&lines(&[None, Some("1"), Some("2"), Some("3")])), [0]);
        assert_eq!(ranks_to_write(&lines(&[Some("2"), Some("1"), Some("3")])), [0]);
    }

    #[test]
    fn what_changes_places_behind_the_default_is_written_too() {
        assert_eq!(ranks_to_write(&lines(&[Some("3"), Some("2"), Some("1")])), [0, 1]);
        assert_eq!(ranks_to_write(&lines(&[Some("9"), None, Some("1")])), [0, 1]);
        assert_eq!(ranks_to_write(&lines(&[Some("9"), Some("1"), None])), [0, 1, 2]);
    }
}
