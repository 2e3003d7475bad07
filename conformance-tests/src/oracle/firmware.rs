//! What UEFI firmware does (UEFI specification, chapter 3, "Boot Manager"), and UKIs that it starts directly.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{
    Chosen, Disk, Loader, MenuEntry,
    entry::{on_partition, read_file},
    loader_of, pe,
    variables::{GLOBAL, LOADER, OURS, wide},
};

/// The path for a disk that the firmware has not met (section 3.5.1.1).
const REMOVABLE: &str = r"\EFI\BOOT\BOOTX64.EFI";

/// Name of what needs no loader.
const UKI: &str = "unified kernel image";

/// One boot option that could be started.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BootOption {
    number: Option<u16>,
    path: String,
    foreign: bool,
}

inventory::submit! {
    Loader {
        name: UKI,
        plugin: "uki",
        recognises: |program| pe::section(program, ".linux").is_some(),
        menu: |disk, program| Ok(vec![uki(disk, program, program.to_owned(), false)]),
        started: |_, _| Ok(()),
        add_foreign: |disk| add_foreign(disk).map(Some),
        choose: Some(put_first),
    }
}

/// Describes a load option (section 3.1.3): attributes, description, device path.
fn parse_option(bytes: &[u8]) -> Option<(bool, [u8; 16], String)> {
    let active = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) & 1 == 1;
    let mut at = 6;
    while bytes.get(at..at + 2)? != [0, 0] {
        at += 2;
    }
    let mut nodes = bytes.get(at + 2..)?;
    let (mut guid, mut path) = (None, None);
    while let [kind, subtype, low, high, ..] = *nodes {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let node = nodes.get(..length)?;
        match (kind, subtype) {
            (4, 1) => guid = node.get(24..40)?.try_into().ok(),
            (4, 4) => path = Some(utf16(node.get(4..)?)),
            (0x7f, _) => break,
            _ => {}
        }
        nodes = nodes.get(length.max(4)..)?;
    }
    Some((active, guid?, path?))
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|two| u16::from_le_bytes([two[0], two[1]]))
        .take_while(|u| *u != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

fn option(disk: &Disk, number: u16) -> Option<BootOption> {
    let bytes = disk.variables.get(GLOBAL, &format!("Boot{number:04X}"))?;
    let (active, guid, path) = parse_option(&bytes)?;
    let foreign = guid != disk.esp_guid || !is_ours(&path);
    active.then_some(BootOption { number: Some(number), path, foreign })
}

/// Bootwright's own boot files carry its name; a loader with a menu of its own is told apart by that menu.
fn is_ours(path: &str) -> bool {
    path.to_ascii_lowercase().contains("bootwright")
}

/// Options in the order in which they are tried; the removable-media path comes last.
fn options(disk: &Disk) -> Vec<BootOption> {
    let next = disk.variables.numbers("BootNext");
    let order = disk.variables.numbers("BootOrder");
    let mut numbers: Vec<u16> = Vec::new();
    for number in next.into_iter().chain(order) {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    let known = numbers.into_iter().filter_map(|number| option(disk, number));
    let removable = BootOption { number: None, path: REMOVABLE.to_owned(), foreign: false };
    known.chain([removable]).collect()
}

/// A UKI as a menu entry: its own command line, then that of every addon (systemd-stub(7)).
pub(super) fn uki(disk: &Disk, path: &str, name: String, foreign: bool) -> MenuEntry {
    let file = on_partition(&disk.esp, path);
    let image = read_file(&file).unwrap_or_default();
    let mut cmdline = pe::text_section(&image, ".cmdline").unwrap_or_default();
    let mut files = vec![file.clone()];
    for folder in [disk.esp.join("loader/addons"), addon_folder(&file)] {
        for addon in addons(&folder) {
            let text = read_file(&addon).and_then(|bytes| pe::text_section(&bytes, ".cmdline"));
            for part in text.iter().filter(|part| !part.is_empty()) {
                cmdline = if cmdline.is_empty() { part.clone() } else { format!("{cmdline} {part}") };
            }
            files.push(addon);
        }
    }
    MenuEntry { name, cmdline, files, tries_left: None, foreign, counter_file: None }
}

/// `<file>.extra.d`, without a boot counter in the name.
fn addon_folder(file: &std::path::Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = match name.strip_suffix(".efi").and_then(|stem| stem.rsplit_once('+')) {
        Some((stem, _)) => format!("{stem}.efi"),
        None => name,
    };
    file.with_file_name(format!("{plain}.extra.d"))
}

fn addons(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok);
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().to_ascii_lowercase().ends_with(".addon.efi"))
        .collect();
    found.sort();
    found
}

/// The whole menu: where the firmware starts a loader, the loader's, else the firmware's own.
///
/// # Errors
/// When a loader's menu cannot be read.
pub fn menu(disk: &Disk) -> Result<Vec<MenuEntry>> {
    let mut all = Vec::new();
    for option in options(disk) {
        let program = read_file(&on_partition(&disk.esp, &option.path));
        let loader = program.as_deref().and_then(loader_of);
        let ours = all.iter().any(|entry: &MenuEntry| !entry.foreign);
        match loader {
            // The last resort is not shown beside what comes before it.
            _ if option.number.is_none() && ours => {}
            Some(loader) if loader.name != UKI && ours => {
                // Its menu is shown once.
            }
            Some(loader) if loader.name != UKI => all.extend((loader.menu)(disk, &option.path)?),
            _ if option.foreign || loader.is_some() => {
                let name = option.number.map_or_else(|| REMOVABLE.to_owned(), |n| format!("Boot{n:04X}"));
                let trial = is_trial(disk, &option);
                let entry = uki(disk, &option.path, name, option.foreign);
                all.push(MenuEntry { tries_left: trial.then_some(1), ..entry });
            }
            _ if option.number.is_some() => all.push(broken(disk, &option)),
            _ => {}
        }
    }
    Ok(all)
}

/// What is started if no option can be: the UKI in the removable-media path. A loader there shows its own menu, and is none.
///
/// # Errors
/// When what lies there is no program that firmware could start.
pub fn last_resort(disk: &Disk) -> Result<Option<MenuEntry>> {
    let Some(program) = read_file(&on_partition(&disk.esp, REMOVABLE)) else { return Ok(None) };
    let loader =
        loader_of(&program).with_context(|| format!("{REMOVABLE} is cut short, or no program at all"))?;
    Ok((loader.name == UKI).then(|| uki(disk, REMOVABLE, REMOVABLE.to_owned(), false)))
}

/// What a boot of something else starts again early on, with a reboot: an entry on trial that was started, did not come up, and has tries left.
pub fn started_again(disk: &Disk) -> Option<MenuEntry> {
    let note = disk.variables.get(OURS, "BootwrightTrial")?;
    let number = u16::from_le_bytes(note.first_chunk().copied()?);
    let option = option(disk, number).filter(|option| !option.foreign && is_trial(disk, option))?;
    let armed = disk.variables.numbers("BootNext").contains(&number);
    let planned = format!("Bootwright {}:", u64::from_le_bytes(note.get(2..10)?.try_into().ok()?));
    let bytes = disk.variables.get(GLOBAL, &format!("Boot{number:04X}"))?;
    let open = !armed && *note.get(11)? > 0 && utf16(bytes.get(6..)?).starts_with(&planned);
    open.then(|| uki(disk, &option.path, format!("Boot{number:04X}"), false))
}

/// By efibootmgr, or in the firmware's own menu.
fn put_first(disk: &Disk, name: &str) {
    let Some(number) = name.strip_prefix("Boot").and_then(|hex| u16::from_str_radix(hex, 16).ok()) else {
        return;
    };
    let rest = disk.variables.numbers("BootOrder").into_iter().filter(|other| *other != number);
    let bytes: Vec<u8> = std::iter::once(number).chain(rest).flat_map(u16::to_le_bytes).collect();
    disk.variables.set(GLOBAL, "BootOrder", Some(bytes));
}

/// Only in `BootNext`: tried once.
fn is_trial(disk: &Disk, option: &BootOption) -> bool {
    option.number.is_some_and(|n| !disk.variables.numbers("BootOrder").contains(&n))
}

fn broken(disk: &Disk, option: &BootOption) -> MenuEntry {
    MenuEntry {
        name: format!("Boot{:04X}", option.number.unwrap_or_default()),
        cmdline: String::new(),
        files: vec![on_partition(&disk.esp, &option.path)],
        tries_left: None,
        foreign: option.foreign,
        counter_file: None,
    }
}

/// Starts the machine: chooses, and writes what firmware and loader write.
///
/// # Errors
/// When nothing can be started.
pub fn start(disk: &Disk) -> Result<Chosen> {
    let options = options(disk);
    disk.variables.set(GLOBAL, "BootNext", None);
    // What the loader of the last boot told is gone with that boot.
    for volatile in ["LoaderEntrySelected", "LoaderImageIdentifier"] {
        disk.variables.set(LOADER, volatile, None);
    }
    for option in &options {
        let Some(program) = read_file(&on_partition(&disk.esp, &option.path)) else { continue };
        let Some(loader) = loader_of(&program) else { continue };
        let current = option.number.map(|number| number.to_le_bytes().to_vec());
        disk.variables.set(GLOBAL, "BootCurrent", current);
        let menu =
            (loader.menu)(disk, &option.path).with_context(|| format!("the menu of {}", loader.name))?;
        let first = menu.into_iter().find(|entry| !entry.foreign && entry.problem().is_none());
        if let Some(entry) = first {
            (loader.started)(disk, &entry)?;
            return Ok(Chosen { entry, loader: loader.name });
        }
    }
    anyhow::bail!("the firmware finds nothing to start; it looked at {options:#?}")
}

/// The loader that firmware would start now, for fixtures.
pub fn loader(disk: &Disk) -> Option<&'static Loader> {
    let programs = options(disk).into_iter().filter(|option| !option.foreign || option.number.is_none());
    let all = programs.chain(options(disk));
    all.filter_map(|option| read_file(&on_partition(&disk.esp, &option.path)))
        .find_map(|program| loader_of(&program))
}

/// A boot option of another system, last in the order.
fn add_foreign(disk: &Disk) -> Result<String> {
    let path = r"\EFI\other\shim.efi";
    let file = on_partition(&disk.esp, path);
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(&file, "another system's loader")?;
    let number = 0x0042_u16;
    disk.variables.set(GLOBAL, "Boot0042", Some(load_option("Another system", disk.esp_guid, path)));
    let mut order = disk.variables.get(GLOBAL, "BootOrder").unwrap_or_default();
    order.extend_from_slice(&number.to_le_bytes());
    disk.variables.set(GLOBAL, "BootOrder", Some(order));
    Ok("Boot0042".to_owned())
}

/// A load option, as a tool would write it.
fn load_option(description: &str, guid: [u8; 16], path: &str) -> Vec<u8> {
    let mut disk = vec![4, 1, 42, 0];
    disk.extend_from_slice(&1_u32.to_le_bytes());
    disk.extend_from_slice(&2048_u64.to_le_bytes());
    disk.extend_from_slice(&(1_u64 << 20).to_le_bytes());
    disk.extend_from_slice(&guid);
    disk.extend_from_slice(&[2, 2]);
    let text = wide(path);
    let length = u16::try_from(text.len() + 4).unwrap_or(u16::MAX);
    let mut nodes = disk;
    nodes.extend_from_slice(&[4, 4]);
    nodes.extend_from_slice(&length.to_le_bytes());
    nodes.extend_from_slice(&text);
    nodes.extend_from_slice(&[0x7f, 0xff, 4, 0]);
    let mut bytes = 1_u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(&u16::try_from(nodes.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend_from_slice(&wide(description));
    bytes.extend_from_slice(&nodes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_option_reads_back() {
        let bytes = load_option("Another system", [7; 16], r"\EFI\x.efi");
        assert_eq!(parse_option(&bytes), Some((true, [7; 16], r"\EFI\x.efi".to_owned())));
        for end in 0..bytes.len() {
            let _ = parse_option(&bytes[..end]);
        }
    }
}
