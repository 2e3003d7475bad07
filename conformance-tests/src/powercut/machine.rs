//! A machine's disk and variables as they were at some moment of its life, and copies of it with some of the unflushed writes.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    life::Life,
    log::SECTOR,
    timeline::{Event, Kept, Part, Timeline, Write},
};

/// Identifies the content of a part of the machine: equal for equal writes to equal sectors.
pub type Key = u64;

/// What is durable at some moment.
#[derive(Debug)]
pub struct Machine<'a> {
    timeline: &'a Timeline,
    layout: &'a super::timeline::Layout,
    path: PathBuf,
    file: File,
    /// What each sector that was written holds; sectors of the base are not in it.
    sectors: HashMap<u64, Key>,
    keys: BTreeMap<Part, Key>,
    variables: Vec<u8>,
    /// Events that have happened.
    at: usize,
    /// Events up to here are durable; the variables are those of `at`.
    durable: usize,
}

/// Changes of sectors, by their number on the disk.
pub type Patch<'a> = BTreeMap<u64, (Key, &'a [u8])>;

impl<'a> Machine<'a> {
    /// The machine before its first boot; its disk is a copy at `path`.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn new(life: &'a Life, path: PathBuf) -> Result<Self> {
        super::life::copy(&life.base, &path)?;
        let file = File::options().read(true).write(true).open(&path)?;
        let mut variables = vec![0; usize::try_from(life.variables_size)?];
        file.read_exact_at(&mut variables, life.layout.disk)?;
        file.set_len(life.layout.disk)?;
        let (timeline, layout) = (&life.timeline, &life.layout);
        let (sectors, keys) = (HashMap::new(), BTreeMap::new());
        Ok(Self { timeline, layout, path, file, sectors, keys, variables, at: 0, durable: 0 })
    }

    /// Goes on to `cut`, where the power fails with everything unflushed lost. It does not go back.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn advance(&mut self, cut: usize) -> Result<()> {
        let durable = self.timeline.durable(cut);
        let events = self.timeline.events();
        for event in events.get(self.at..cut).unwrap_or_default() {
            if let Event::Write(write) = event
                && write.is_durable()
            {
                self.apply(write)?;
            }
        }
        for event in events.get(self.durable..durable).unwrap_or_default() {
            if let Event::Write(write) = event
                && !write.is_durable()
            {
                self.apply(write)?;
            }
        }
        (self.at, self.durable) = (self.at.max(cut), self.durable.max(durable));
        Ok(())
    }

    fn apply(&mut self, write: &Write) -> Result<()> {
        if write.part == Part::Variables {
            let start = usize::try_from(write.offset - self.layout.disk)?;
            let end = start + usize::try_from(write.length)?;
            let place = self.variables.get_mut(start..end).context("a write behind the variables")?;
            match self.timeline.bytes(write) {
                Some(bytes) => place.copy_from_slice(bytes),
                None => place.fill(0),
            }
            return Ok(());
        }
        let mut key = self.key(write.part);
        for number in 0..write.sectors() {
            let sector = write.offset / SECTOR as u64 + u64::from(number);
            let bytes = self.timeline.sector(write, number);
            let new = sector_key(sector, bytes);
            key ^= new ^ self.sectors.insert(sector, new).unwrap_or_default();
        }
        self.keys.insert(write.part, key);
        match self.timeline.bytes(write) {
            Some(bytes) => self.file.write_all_at(bytes, write.offset),
            None => self.file.write_all_at(&vec![0; usize::try_from(write.length)?], write.offset),
        }
        .context("write the machine's disk")
    }

    fn key(&self, part: Part) -> Key {
        self.keys.get(&part).copied().unwrap_or_default()
    }

    /// The variable store.
    pub fn variables(&self) -> &[u8] {
        &self.variables
    }

    /// The disk without anything unflushed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, open.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What `kept` changes. Sectors that are written twice have the later content.
    pub fn patch(&self, kept: &[Kept]) -> Patch<'a> {
        let mut patch = Patch::new();
        for kept in kept {
            let Some(write) = self.timeline.write(kept.event) else { continue };
            let all = (0..write.sectors()).collect();
            for number in kept.sectors.as_ref().unwrap_or(&all) {
                let sector = write.offset / SECTOR as u64 + u64::from(*number);
                let bytes = self.timeline.sector(write, *number);
                patch.insert(sector, (sector_key(sector, bytes), bytes));
            }
        }
        // What changes nothing is left out, so that equal states have equal keys.
        patch.retain(|sector, (key, _)| self.sectors.get(sector) != Some(&*key));
        patch
    }

    /// The key of a part with a patch.
    pub fn patched_key(&self, part: Part, patch: &Patch<'_>) -> Key {
        patch.iter().fold(self.key(part), |key, (sector, (new, _))| {
            key ^ new ^ self.sectors.get(sector).copied().unwrap_or_default()
        })
    }

    /// What a sector of the disk holds, as a number; 0 for one that was never written.
    pub fn sector(&self, sector: u64) -> Key {
        self.sectors.get(&sector).copied().unwrap_or_default()
    }
}

/// Number and content of a sector in one number. Nobody chooses the content to make two equal.
fn sector_key(sector: u64, bytes: &[u8]) -> Key {
    let mut hash = sector.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51_7c_c1_b7_27_22_0a_95;
    for word in bytes.chunks_exact(8) {
        let word =
            u64::from_le_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]);
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash | 1
}

/// The key of some bytes.
pub fn bytes_key(bytes: &[u8]) -> Key {
    bytes.chunks(SECTOR).enumerate().fold(0, |key, (number, part)| key ^ sector_key(number as u64, part))
}
