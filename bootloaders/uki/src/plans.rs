//! Notes on what was published: one line of JSON for each plan.

use bootwright_core::{
    Result,
    boot_files::seal,
    fs::{ReplaceStyle, Root},
    model::Digest,
};
use serde::{Deserialize, Serialize};

use crate::names::UkiName;

/// The folder of the notes.
pub const NOTES_FOLDER: &str = "EFI/bootwright";
pub const FILE: &str = "EFI/bootwright/plans.jsonl";
/// Older notes are dropped.
const LIMIT: usize = 16;

/// One entry of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    stem: String,
    /// Digest of the UKI.
    pub sha256: Digest,
    /// Menu title.
    pub title: String,
    /// Version.
    pub version: Option<String>,
    /// File names and digests of its addons.
    #[serde(default)]
    pub addons: Vec<(String, Digest)>,
}

impl Line {
    /// Notes an entry.
    pub fn new(name: &UkiName, sha256: Digest, title: String, version: Option<String>) -> Self {
        Self { stem: name.stem(), sha256, title, version, addons: Vec::new() }
    }

    /// Notes its addons.
    pub fn with_addons(mut self, addons: Vec<(String, Digest)>) -> Self {
        self.addons = addons;
        self
    }

    /// The entry's UKI; `None` if the note is damaged.
    pub fn name(&self) -> Option<UkiName> {
        UkiName::parse(&self.stem)
    }
}

/// What one plan published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanNote {
    /// Its generation.
    pub generation: u64,
    /// Its entries; the first is the default.
    pub entries: Vec<Line>,
}

/// All notes, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Notes(Vec<PlanNote>);

impl Notes {
    /// Reads the notes; lines that make no sense are passed over.
    pub fn load(esp: &Root) -> Result<Self> {
        Ok(Self::parse(&esp.read_text(FILE)?.unwrap_or_default()))
    }

    /// The notes in a text.
    pub fn parse(text: &str) -> Self {
        let mut notes: Vec<PlanNote> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        notes.sort_by_key(|note| note.generation);
        Self(notes)
    }

    /// Adds a plan, dropping plans that are newer than `published`: they were staged and never committed.
    pub fn add(&mut self, note: PlanNote, published: u64) {
        self.0.retain(|old| old.generation <= published && old.generation < note.generation);
        self.0.push(note);
    }

    /// Writes the notes.
    pub fn store(&self, esp: &Root) -> Result<()> {
        esp.replace(FILE, self.print().as_bytes(), ReplaceStyle::Durable)
    }

    /// The newest notes as text.
    pub fn print(&self) -> String {
        let recent = self.0.get(self.0.len().saturating_sub(LIMIT)..).unwrap_or_default();
        let text: String =
            recent.iter().filter_map(|note| Some(serde_json::to_string(note).ok()? + "\n")).collect();
        seal(&text)
    }

    /// The newest plan whose default has this digest.
    pub fn with_default(&self, digest: &Digest) -> Option<&PlanNote> {
        self.0.iter().rev().find(|note| note.entries.first().is_some_and(|line| &line.sha256 == digest))
    }

    /// The newest plan whose default is this UKI.
    pub fn of_default(&self, name: &UkiName) -> Option<&PlanNote> {
        let stem = name.stem();
        self.0.iter().rev().find(|note| note.entries.first().is_some_and(|line| line.stem == stem))
    }

    /// The newest note on a UKI.
    pub fn line(&self, name: &UkiName) -> Option<&Line> {
        let stem = name.stem();
        self.0.iter().rev().flat_map(|note| &note.entries).find(|line| line.stem == stem)
    }

    /// The newest UKI with this digest that was published with exactly these addons.
    pub fn with_content(&self, digest: &Digest, addons: &[(String, Option<Digest>)]) -> Option<UkiName> {
        let same = |line: &&Line| {
            let noted = line.addons.iter().map(|(name, digest)| (name, Some(digest)));
            &line.sha256 == digest && noted.eq(addons.iter().map(|(name, digest)| (name, digest.as_ref())))
        };
        self.0.iter().rev().flat_map(|note| &note.entries).find(same)?.name()
    }

    /// The newest note on a UKI with this digest.
    pub fn with_digest(&self, digest: &Digest) -> Option<&Line> {
        self.0.iter().rev().flat_map(|note| &note.entries).find(|line| &line.sha256 == digest)
    }
}

#[cfg(test)]
mod tests {
    use bootwright_core::{fs::Faults, model::DeploymentId};

    use super::*;

    fn note(generation: u64, byte: u8) -> PlanNote {
        let digest = Digest::from_sha256([byte; 32]);
        let name = UkiName::new(&DeploymentId::new("a").unwrap(), &digest).unwrap();
        PlanNote { generation, entries: vec![Line::new(&name, digest, "t".into(), None)] }
    }

    #[test]
    fn damaged_lines_are_passed_over_and_the_newest_match_counts() {
        let folder = tempfile::tempdir().unwrap();
        let esp = Root::open(folder.path(), Faults::none()).unwrap();
        let mut notes = Notes::default();
        for (generation, byte) in [(1, 1), (2, 2), (3, 1)] {
            notes.add(note(generation, byte), generation - 1);
        }
        notes.store(&esp).unwrap();
        let text = esp.read_text(FILE).unwrap().unwrap();
        esp.replace(FILE, format!("{{half\n\u{fffd}\n{text}").as_bytes(), ReplaceStyle::Relaxed).unwrap();
        let read = Notes::load(&esp).unwrap();
        assert_eq!(read.with_default(&Digest::from_sha256([1; 32])).map(|note| note.generation), Some(3));
    }

    #[test]
    fn a_plan_that_was_never_committed_is_dropped_by_the_next() {
        let mut notes = Notes::default();
        notes.add(note(1, 1), 0);
        notes.add(note(2, 2), 1);
        notes.add(note(3, 3), 1);
        assert!(notes.with_default(&Digest::from_sha256([2; 32])).is_none());
    }
}
