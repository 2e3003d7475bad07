//! Disks as the oracle sees them, and what it finds in menus.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Variables, names_root, sections_beside_arguments, tree_of};
use crate::suite::SeenEntry;

/// The disks of a machine that is off, mounted for looking at them, and its firmware.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The EFI system partition.
    pub esp: PathBuf,
    /// The physical root.
    pub sysroot: PathBuf,
    /// GUID of the ESP, in the byte order of the table.
    pub esp_guid: [u8; 16],
    /// Firmware variables.
    pub variables: Variables,
}

/// One entry of a boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuEntry {
    /// Its name there.
    pub name: String,
    /// The command line of its kernel.
    pub cmdline: String,
    /// What would be loaded, in order: kernel and initrds, or a UKI and its addons.
    pub files: Vec<PathBuf>,
    /// Tries left.
    pub tries_left: Option<u32>,
    /// Made by another program.
    pub foreign: bool,
    /// Where the loader keeps its counter, if it keeps one in a file name.
    pub counter_file: Option<PathBuf>,
}

/// What a machine starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The entry.
    pub entry: MenuEntry,
    /// The loader that chose it.
    pub loader: &'static str,
}

impl MenuEntry {
    /// Why it would not start.
    pub fn problem(&self) -> Option<String> {
        let broken = |path: &&PathBuf| !std::fs::metadata(path).is_ok_and(|found| found.len() > 0);
        let missing = self.files.iter().find(broken);
        let missing = missing.map(|path| format!("{} is missing or empty", path.display()));
        missing.or_else(|| self.files.is_empty().then(|| "it names no kernel".to_owned()))
    }

    /// For cases, where nobody can look at the root.
    pub fn seen(&self) -> SeenEntry {
        SeenEntry {
            name: self.name.clone(),
            cmdline: self.cmdline.clone(),
            kernel_sha256: self.digest(|_| Vec::new()),
            tries_left: self.tries_left,
            foreign: self.foreign,
            deployment: String::new(),
            starts: String::new(),
            problem: if self.foreign { None } else { self.problem() },
        }
    }

    /// For cases, with what it leads to on this physical root.
    pub fn seen_with_root(&self, sysroot: &Path) -> SeenEntry {
        let mut seen = self.seen();
        if !self.foreign {
            self.look_behind(sysroot, &mut seen);
        }
        seen
    }

    fn look_behind(&self, sysroot: &Path, seen: &mut SeenEntry) {
        match tree_of(sysroot, &self.cmdline) {
            Ok((live, tree)) => {
                seen.deployment = live.etc.strip_prefix(sysroot).unwrap_or(&live.etc).display().to_string();
                let beside = self.digest(|content| sections_beside_arguments(content).unwrap_or_default());
                seen.starts = format!("{beside} {tree} {}", self.arguments().join(" "));
            }
            Err(error) => seen.problem = seen.problem.take().or_else(|| Some(format!("{error:#}"))),
        }
    }

    /// Words of its command line, but for the one that names the root: that may change with a store's bookkeeping.
    pub fn arguments(&self) -> Vec<String> {
        self.cmdline.split_whitespace().filter(|word| !names_root(word)).map(str::to_owned).collect()
    }

    /// SHA-256 over these parts of each file, or all of it where there are none.
    fn digest(&self, parts: impl for<'b> Fn(&'b [u8]) -> Vec<(String, &'b [u8])>) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            let content = read_file(file).unwrap_or_default();
            let parts = parts(&content);
            if parts.is_empty() {
                hash.update(&content);
            }
            for (name, bytes) in parts {
                hash.update(name);
                hash.update(bytes);
            }
        }
        hex::encode(hash.finalize())
    }
}

/// The file at an EFI path (`\EFI\x.efi` or `/EFI/x.efi`) below a partition; FAT does not care about case.
pub fn on_partition(partition: &Path, path: &str) -> PathBuf {
    let mut found = partition.to_owned();
    for part in path.split(['\\', '/']).filter(|part| !part.is_empty()) {
        let exact = found.join(part);
        found = if exact.exists() { exact } else { any_case(&found, part).unwrap_or(exact) };
    }
    found
}

fn any_case(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let mut matching = entries.filter(|entry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(name));
    matching.next().map(|entry| entry.path())
}

/// Bytes of a file, or `None` if there is none.
pub fn read_file(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}
