//! One file, folder, link or removal inside a layer.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// Modification time of everything that is composed: 2025-01-01T00:00:00Z, so that digests are stable.
pub const IMAGE_TIME: u64 = 1_735_689_600;

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Whatever this file of the host holds when the layer is written.
    Host(PathBuf),
}

impl Content {
    /// Opens the content, with its length in bytes.
    pub fn open(&self) -> Result<(Box<dyn Read + '_>, u64)> {
        match self {
            Self::Bytes(bytes) => Ok((Box::new(Cursor::new(bytes)), bytes.len() as u64)),
            Self::Host(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                let size = file.metadata()?.len();
                Ok((Box::new(file), size))
            }
        }
    }
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with this target, which is stored as it is.
    Symlink(String),
    /// Another name of the file at this path of the same image, written without a leading slash.
    Hardlink(String),
    /// Removes the path that lower layers have (OCI image specification, layer, "Whiteouts").
    Whiteout,
}

/// One entry of a layer. Owner and group are root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    path: String,
    mode: u32,
    kind: EntryKind,
}

impl Entry {
    /// An entry at `path` (absolute or relative to the image's root) with permission bits `mode`.
    pub fn new(path: &str, mode: u32, kind: EntryKind) -> Self {
        Self { path: path.trim_matches('/').to_owned(), mode, kind }
    }

    /// A regular file with these bytes.
    pub fn file(path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self::new(path, mode, EntryKind::File(Content::Bytes(bytes.into())))
    }

    /// A symbolic link to `target`.
    pub fn symlink(path: &str, target: &str) -> Self {
        Self::new(path, 0o777, EntryKind::Symlink(target.to_owned()))
    }

    /// A folder.
    pub fn directory(path: &str, mode: u32) -> Self {
        Self::new(path, mode, EntryKind::Directory)
    }

    /// The removal of what lower layers have at `path`.
    pub fn whiteout(path: &str) -> Self {
        Self::new(path, 0, EntryKind::Whiteout)
    }

    /// Path inside the image, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Permission bits.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// What the entry is.
    pub fn kind(&self) -> &EntryKind {
        &self.kind
    }

    /// The name under which the entry stands in the tar: for a whiteout, `.wh.` before the last part.
    pub(super) fn stored_path(&self) -> String {
        if self.kind != EntryKind::Whiteout {
            return self.path.clone();
        }
        match self.path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/.wh.{name}"),
            None => format!(".wh.{}", self.path),
        }
    }
}

/// Puts `entries` into the order of a layer, with the parent folders that they lack: parents before children,
/// hard links after everything they may point to.
///
/// # Errors
/// When a path is empty, climbs with `..`, or is given twice.
pub(super) fn ordered(mut entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let mut seen = BTreeSet::new();
    for entry in &entries {
        let plain =
            Path::new(&entry.path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        ensure!(plain && !entry.path.is_empty(), "{:?} is not a path inside an image", entry.path);
        ensure!(seen.insert(entry.path.clone()), "/{} is given twice in one layer", entry.path);
    }
    let mut parents = BTreeSet::new();
    for path in &seen {
        parents.extend(Path::new(path).ancestors().skip(1).filter_map(Path::to_str).map(str::to_owned));
    }
    parents.retain(|path| !path.is_empty() && !seen.contains(path));
    entries.extend(parents.iter().map(|path| Entry::directory(path, usual_mode(path))));
    entries.sort_by_key(|entry| (matches!(entry.kind, EntryKind::Hardlink(_)), entry.stored_path()));
    Ok(entries)
}

/// A parent folder that is added to a layer replaces the mode of the one below it, so the few unusual ones
/// of the base system must be repeated.
fn usual_mode(folder: &str) -> u32 {
    match folder {
        "root" => 0o700,
        "tmp" | "var/tmp" => 0o1777,
        _ => 0o755,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_added_and_come_before_their_children() {
        let entries = ordered(vec![Entry::file("/usr/lib/x", "1", 0o644)]).unwrap();
        let paths: Vec<&str> = entries.iter().map(Entry::path).collect();
        assert_eq!(paths, ["usr", "usr/lib", "usr/lib/x"]);
    }

    #[test]
    fn a_hard_link_comes_after_its_target_whatever_its_name() {
        let link = Entry::new("a", 0o644, EntryKind::Hardlink("z".into()));
        let entries = ordered(vec![link, Entry::file("z", "1", 0o644)]).unwrap();
        assert_eq!(entries.last().map(Entry::path), Some("a"));
    }

    #[test]
    fn paths_that_leave_the_image_or_repeat_are_refused() {
        assert!(ordered(vec![Entry::file("a/../../b", "", 0o644)]).is_err());
        assert!(ordered(vec![Entry::file("/", "", 0o644)]).is_err());
        let twice = vec![Entry::file("a", "", 0o644), Entry::file("/a", "", 0o644)];
        assert!(ordered(twice).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn a_whiteout_is_stored_under_its_marker_name() {
        assert_eq!(Entry::whiteout("/usr/lib/x").stored_path(), "usr/lib/.wh.x");
        assert_eq!(Entry::whiteout("x").stored_path(), ".wh.x");
    }

    #[test]
    fn the_home_of_root_stays_private_when_it_is_only_a_parent() {
        let entries = ordered(vec![Entry::file("/root/x", "1", 0o600)]).unwrap();
        assert_eq!(entries.first().map(Entry::mode), Some(0o700));
    }
}
