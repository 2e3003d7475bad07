//! The entries on a partition, in the loader's order.

use bootwright_core::{
    Result,
    bls::{Entry, EntryName, MenuItem},
    boot_files::{file_lines, unseal},
    fs::Root,
    model::{DeploymentId, EntryId},
};

use crate::{
    files::FileDigests,
    names::{ENTRIES, EntryStem},
};

/// An entry file is a few hundred bytes; what is larger is not read.
const ENTRY_LIMIT: u64 = 64 << 10;

/// One of our entry files.
#[derive(Debug, Clone)]
pub struct Found {
    /// File name, counter included.
    pub file: String,
    /// What its name says.
    pub stem: EntryStem,
    /// The loader's name for it.
    pub id: EntryId,
    /// Name and content.
    pub item: MenuItem,
    /// The files that it needs, with their digests; `None` if the file is not as it was written.
    pub files: Option<FileDigests>,
    /// Why it cannot boot.
    pub problem: Option<String>,
    /// Whether the loader lists it at all: it leaves out entries whose program is missing.
    pub listed: bool,
}

impl Found {
    /// What it boots.
    pub fn deployment(&self) -> &DeploymentId {
        &self.stem.deployment
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("{ENTRIES}/{}", self.file)
    }
}

/// All entry files of a partition.
#[derive(Debug, Default)]
pub struct Menu {
    /// Ours, the most preferred first, those that the loader does not list last.
    pub ours: Vec<Found>,
    /// File names of the others.
    pub foreign: Vec<String>,
}

impl Menu {
    /// Reads the folder of entries. Files that make no sense never make it fail.
    pub fn load(root: &Root) -> Result<Self> {
        let mut menu = Self::default();
        for file in root.list(ENTRIES)? {
            match load_one(root, &file)? {
                Some(found) => menu.ours.push(found),
                None if EntryName::parse(&file).is_some() => menu.foreign.push(file),
                None => {}
            }
        }
        menu.ours.sort_by(|a, b| b.listed.cmp(&a.listed).then_with(|| MenuItem::compare(&a.item, &b.item)));
        Ok(menu)
    }

    /// The entry with this id.
    pub fn by_id(&self, id: &EntryId) -> Option<&Found> {
        self.ours.iter().find(|found| &found.id == id)
    }

    /// Ours in order, but of each deployment only the entry that was published last: the others are what a sweep has not reached yet. Tries that are
    /// used up do not change that: the last try may be what runs, by root arguments that only this entry names.
    pub fn effective(&self) -> impl Iterator<Item = &Found> {
        self.ours
            .iter()
            .filter(|found| self.last_of(found.deployment()).is_some_and(|last| last.file == found.file))
    }

    /// What boots next, as far as it is ours.
    pub fn default_entry(&self) -> Option<&Found> {
        self.effective().next()
    }

    fn last_of(&self, deployment: &DeploymentId) -> Option<&Found> {
        let of_it = self.ours.iter().filter(|found| found.deployment() == deployment);
        // The first of those that are equal: one that is blessed already has the same name but for the counter.
        of_it.rev().max_by_key(|found| (found.listed, found.stem.generation))
    }
}

fn load_one(root: &Root, file: &str) -> Result<Option<Found>> {
    let Some(name) = EntryName::parse(file) else { return Ok(None) };
    let (Some(stem), Ok(id)) = (EntryStem::parse(&name.stem), EntryId::new(name.stem.clone())) else {
        return Ok(None);
    };
    let path = format!("{ENTRIES}/{file}");
    let readable = root.size_of(&path)?.is_some_and(|size| size <= ENTRY_LIMIT);
    // A folder of that name, or a file that the disk does not give back, is damage, not a reason to stop.
    let content = if readable { root.read(&path).ok().flatten() } else { None };
    let entry = Entry::parse(content.as_deref().unwrap_or_default());
    let files = content.as_deref().and_then(unseal).map(file_lines);
    let (problem, listed) = check(root, &entry);
    let item = MenuItem { name, entry };
    Ok(Some(Found { file: file.to_owned(), stem, id, item, files, problem, listed }))
}

/// What is wrong with an entry, and whether the loader lists it.
fn check(root: &Root, entry: &Entry) -> (Option<String>, bool) {
    let Some(program) = &entry.program else {
        return (Some("the entry file is damaged: it names no kernel".to_owned()), false);
    };
    let missing = |path: &str| !root.size_of(&relative(path)).is_ok_and(|size| size.is_some_and(|s| s > 0));
    let problem = entry.paths().find(|path| missing(path)).map(|path| format!("{path} is missing or empty"));
    (problem, root.exists(&relative(program.path())))
}

/// A path of an entry, relative to its partition.
pub fn relative(path: &str) -> String {
    path.trim_start_matches(['/', '\\']).replace('\\', "/")
}
