//! What an image must have for a bootloader that makes its own program of parts: the host's parts. Others take programs that only have to be
//! recognised.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::images::{Content, Entry, EntryKind};

/// One bootloader's parts.
struct Parts {
    bootloader: &'static str,
    /// Where the host has them, and the image too.
    folder: &'static str,
    /// Modules that are built in, with what they depend on.
    modules: &'static str,
    /// Files besides.
    files: &'static [&'static str],
}

const PARTS: [Parts; 1] = [Parts {
    bootloader: "grub2",
    folder: "/usr/lib/grub/x86_64-efi",
    modules: "part_gpt part_msdos fat ext2 btrfs xfs search search_fs_file configfile normal linux echo test regexp loadenv \
              sleep reboot halt serial terminal password_pbkdf2 minicmd ls cat true chain",
    files: &["moddep.lst", "kernel.img"],
}];

/// The files for a bootloader, by its registered name; none if it takes what all images have.
///
/// # Errors
/// When the host does not have them.
pub fn for_bootloader(name: &str) -> Result<Vec<Entry>> {
    let Some(parts) = PARTS.iter().find(|parts| parts.bootloader == name) else { return Ok(Vec::new()) };
    let folder = Path::new(parts.folder);
    let list = folder.join("moddep.lst");
    let text = std::fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let modules = closure(&text, parts.modules).into_iter().map(|name| format!("{name}.mod"));
    let names = modules.chain(parts.files.iter().map(|&name| name.to_owned()));
    Ok(names.map(|name| entry(folder.join(name))).collect())
}

fn entry(path: PathBuf) -> Entry {
    let place = path.to_string_lossy().into_owned();
    Entry::new(&place, 0o644, EntryKind::File(Content::Host(path)))
}

/// The modules and all that they need, from lines `module: needed needed`.
fn closure(list: &str, wanted: &str) -> BTreeSet<String> {
    let needs: BTreeMap<&str, &str> = list.lines().filter_map(|line| line.split_once(':')).collect();
    let mut open: Vec<&str> = wanted.split_whitespace().collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name.to_owned()) {
            open.extend(needs.get(name).into_iter().flat_map(|needs| needs.split_whitespace()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_along() {
        let found = closure("a: b c\nb: d\nc:\nd: a\ne: f\n", "a");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
