//! The files of an ESP in a folder: what firmware would find, state by state. Only what differs from the state before is written again.

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::{
    fat::{self, Damage, Item},
    log::SECTOR,
    machine::{Key, Machine, Patch},
};

/// The folder.
#[derive(Debug)]
pub struct EspFolder {
    folder: PathBuf,
    /// What each file was made from.
    files: BTreeMap<String, Key>,
    digests: BTreeMap<Key, String>,
    damaged: Vec<Damaged>,
}

/// Something that the kernel would stumble over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// On the ESP, with slashes.
    pub path: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// In which way.
    pub damage: Damage,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.damage {
            Damage::Broken => write!(f, "{} (its clusters are free)", self.path),
            Damage::Shared(other) => write!(f, "{} (has the clusters of {other})", self.path),
            Damage::EndsEarly => write!(f, "{} (ends before half a name)", self.path),
        }
    }
}

impl EspFolder {
    /// An empty one.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, files: BTreeMap::new(), digests: BTreeMap::new(), damaged: Vec::new() }
    }

    /// Makes it show the ESP of `machine` with `patch`.
    ///
    /// # Errors
    /// When it is not FAT any more, or the folder cannot be written.
    pub fn show(&mut self, machine: &Machine<'_>, start: u64, patch: &Patch<'_>) -> Result<()> {
        let read = |offset: u64, buffer: &mut [u8]| read_patched(machine, patch, start + offset, buffer);
        self.damaged.clear();
        let items = fat::list(&read)?;
        let damaged = items.iter().filter_map(|item| Some((item.clone(), item.damage.clone()?)));
        self.damaged =
            damaged.map(|(item, damage)| Damaged { path: item.path, folder: item.folder, damage }).collect();
        let mut wanted = BTreeMap::new();
        for item in &items {
            wanted.insert(item.path.clone(), content_key(machine, patch, start, item));
        }
        self.remove_all_but(&wanted)?;
        for item in &items {
            let key = wanted.get(&item.path).copied().unwrap_or_default();
            if self.files.get(&item.path) == Some(&key) {
                continue;
            }
            let at = self.folder.join(&item.path);
            if item.folder {
                fs::create_dir_all(&at)?;
            } else {
                fs::write(&at, content(&read, item)?)?;
            }
            self.files.insert(item.path.clone(), key);
        }
        Ok(())
    }

    fn remove_all_but(&mut self, wanted: &BTreeMap<String, Key>) -> Result<()> {
        let gone = |path: &String, key: &Key| wanted.get(path) != Some(key);
        let gone: Vec<_> =
            self.files.iter().filter(|(path, key)| gone(path, key)).map(|(p, _)| p.clone()).collect();
        // A folder comes before what is in it: the other way round here.
        for path in gone.iter().rev() {
            self.files.remove(path);
            let at = self.folder.join(path);
            if at.is_dir() {
                fs::remove_dir_all(&at)?;
            } else if at.exists() {
                fs::remove_file(&at)?;
            }
        }
        Ok(())
    }

    /// Whether it has no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What the kernel would stumble over; firmware does not.
    pub fn damaged(&self) -> &[Damaged] {
        &self.damaged
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// SHA-256 of a file in it, in hexadecimal digits.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn digest(&mut self, file: &Path) -> Result<String> {
        let name = file.strip_prefix(&self.folder).unwrap_or(file).display().to_string();
        let key = self.files.get(&name).copied();
        if let Some(known) = key.and_then(|key| self.digests.get(&key)) {
            return Ok(known.clone());
        }
        let digest = hex::encode(Sha256::digest(fs::read(file)?));
        if let Some(key) = key {
            self.digests.insert(key, digest.clone());
        }
        Ok(digest)
    }
}

/// Names what a file holds: its size, its sectors, and what they hold. Folders are all alike.
fn content_key(machine: &Machine<'_>, patch: &Patch<'_>, start: u64, item: &Item) -> Key {
    let mut key: Key = if item.folder { 1 } else { item.size.wrapping_add(2) };
    for extent in item.extents.iter().filter(|_| !item.folder) {
        let first = (start + extent.start) / SECTOR as u64;
        let last = (start + extent.end).div_ceil(SECTOR as u64);
        for sector in first..last {
            let held = patch.get(&sector).map_or_else(|| machine.sector(sector), |(key, _)| *key);
            key = (key.rotate_left(5) ^ sector ^ held).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
    key
}

fn content(read: &fat::Read<'_>, item: &Item) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for extent in &item.extents {
        let start = bytes.len();
        bytes.resize(start + usize::try_from(extent.end - extent.start)?, 0);
        read(extent.start, bytes.get_mut(start..).unwrap_or_default())?;
    }
    Ok(bytes)
}

/// Reads from the disk, and puts what `patch` changes over it.
fn read_patched(
    machine: &Machine<'_>,
    patch: &Patch<'_>,
    offset: u64,
    buffer: &mut [u8],
) -> std::io::Result<()> {
    machine.file().read_exact_at(buffer, offset)?;
    let end = offset + buffer.len() as u64;
    let size = SECTOR as u64;
    for (sector, (_, bytes)) in patch.range(offset / size..end.div_ceil(size)) {
        for (at, byte) in (sector * size..).zip(*bytes) {
            let place = at.checked_sub(offset).and_then(|place| usize::try_from(place).ok());
            if let Some(place) = place.and_then(|place| buffer.get_mut(place)) {
                *place = *byte;
            }
        }
    }
    Ok(())
}
