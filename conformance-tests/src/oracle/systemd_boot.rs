//! systemd-boot's menu: Boot Loader Specification entries (UAPI.1) with boot counters (systemd, "Automatic Boot Assessment").

use std::{cmp::Ordering, path::PathBuf};

use anyhow::{Context as _, Result};
use memchr::memmem;

use super::{Disk, Loader, MenuEntry, entry::on_partition, firmware, pe, variables::LOADER};

const MARKER: &[u8] = b"#### LoaderInfo: systemd-boot";
const DEFAULT: &str = "LoaderEntryDefault";
const ENTRIES: &str = "loader/entries";

inventory::submit! {
    Loader {
        name: "systemd-boot",
        plugin: "systemd-boot",
        // UKIs are large: they are told apart by their table, before all of them is searched.
        recognises: |program| pe::section(program, ".linux").is_none()
            && memmem::find(program, MARKER).is_some(),
        menu: |disk, _| menu(disk),
        started: |disk, entry| started(disk, entry),
        add_foreign: |disk| add_foreign(disk).map(Some),
        choose: Some(|disk, entry| disk.variables.set_text(LOADER, DEFAULT, entry)),
    }
}

/// One entry file.
#[derive(Debug, Clone, Default)]
struct Item {
    file: PathBuf,
    /// The name without counter.
    stem: String,
    counter: Option<(u32, u32)>,
    fields: Vec<(String, String)>,
}

impl Item {
    fn read(file: PathBuf) -> Option<Self> {
        let name = file.file_name()?.to_str()?.to_owned();
        // systemd-boot passes by what is hidden (systemd, src/boot/boot.c).
        let body = name.strip_suffix(".conf").filter(|body| !body.starts_with('.'))?;
        let split = body.rsplit_once('+').and_then(|(stem, text)| {
            let (left, done) = text.split_once('-').unwrap_or((text, "0"));
            Some((stem, (left.parse().ok()?, done.parse().ok()?)))
        });
        let (stem, tries) = split.map_or((body, None), |(stem, tries)| (stem, Some(tries)));
        let text = std::fs::read_to_string(&file).ok()?;
        let fields = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
            let (key, value) = line.trim().split_once(char::is_whitespace)?;
            Some((key.to_owned(), value.trim().to_owned()))
        });
        Some(Self { stem: stem.to_owned(), counter: tries, fields: fields.collect(), file })
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn exhausted(&self) -> bool {
        self.counter.is_some_and(|(left, _)| left == 0)
    }

    /// The order of the menu (UAPI.1, "Sorting").
    fn compare(&self, other: &Self) -> Ordering {
        let by_key = match (self.value("sort-key"), other.value("sort-key")) {
            (Some(a), Some(b)) => a
                .cmp(b)
                .then_with(|| self.value("machine-id").cmp(&other.value("machine-id")))
                .then_with(|| versions(other.value("version"), self.value("version"))),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let names = || versions(Some(&other.stem), Some(&self.stem));
        self.exhausted().cmp(&other.exhausted()).then(by_key).then_with(names)
    }

    fn foreign(&self) -> bool {
        !self.stem.starts_with("bootwright-")
    }

    fn entry(&self, disk: &Disk) -> Option<MenuEntry> {
        let name = format!("{}.conf", self.stem);
        let mut entry = if let Some(linux) = self.value("linux") {
            let paths = std::iter::once(linux).chain(self.values("initrd"));
            let files = paths.map(|path| on_partition(&disk.esp, path)).collect();
            let cmdline = self.values("options").collect::<Vec<_>>().join(" ");
            MenuEntry { name, cmdline, files, tries_left: None, foreign: self.foreign(), counter_file: None }
        } else {
            let path = self.value("uki").or(self.value("efi"))?;
            let mut entry = firmware::uki(disk, path, name, self.foreign());
            let options: Vec<_> = self.values("options").collect();
            if !options.is_empty() {
                // Load options replace what is embedded.
                entry.cmdline = options.join(" ");
            }
            entry
        };
        // Entries whose program is missing are not listed at all; that one is ours is still worth telling.
        entry.tries_left = self.counter.map(|(left, _)| left);
        entry.counter_file = Some(self.file.clone());
        Some(entry)
    }
}

/// Versions by their runs of digits and of letters, near enough to UAPI.10 for names of one kind.
fn versions(a: Option<&str>, b: Option<&str>) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let pieces = text.split(|c: char| !c.is_ascii_alphanumeric());
        pieces.map(|piece| (piece.parse().unwrap_or(0), piece.to_owned())).collect()
    };
    parts(a.unwrap_or_default()).cmp(&parts(b.unwrap_or_default()))
}

fn menu(disk: &Disk) -> Result<Vec<MenuEntry>> {
    let folder = disk.esp.join(ENTRIES);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut items: Vec<_> = entries.filter_map(|entry| Item::read(entry.ok()?.path())).collect();
    items.sort_by(Item::compare);
    let mut menu: Vec<_> = items.iter().filter_map(|item| item.entry(disk)).collect();
    for wanted in [DEFAULT, "LoaderEntryOneShot"].map(|name| named(disk, name)) {
        // Stable: all others keep their order.
        menu.sort_by_key(|entry| wanted.as_ref() != Some(&entry.name));
    }
    Ok(menu)
}

fn named(disk: &Disk, variable: &str) -> Option<String> {
    let bytes = disk.variables.get(LOADER, variable)?;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
    Some(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned())
}

/// Counts the try in the file's name, before the kernel starts.
fn started(disk: &Disk, entry: &MenuEntry) -> Result<()> {
    disk.variables.set(LOADER, "LoaderEntryOneShot", None);
    disk.variables.set_text(LOADER, "LoaderEntrySelected", &entry.name);
    let Some(item) = entry.counter_file.clone().and_then(Item::read) else { return Ok(()) };
    let Some((left, done)) = item.counter else { return Ok(()) };
    let name = format!("{}+{}-{}.conf", item.stem, left.saturating_sub(1), done + 1);
    std::fs::rename(&item.file, item.file.with_file_name(name)).context("count a try")
}

fn add_foreign(disk: &Disk) -> Result<String> {
    let folder = disk.esp.join("other");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("linux"), "another system's kernel")?;
    let text = "title Another system\nsort-key zz-other\nversion 9\nlinux /other/linux\noptions root=other\n";
    std::fs::write(disk.esp.join(ENTRIES).join("other-system.conf"), text)?;
    Ok("other-system.conf".to_owned())
}
