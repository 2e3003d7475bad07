//! Finds out whether somebody uses a disk: such a disk is never touched, with or without `--wipe`.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use bootwright_core::{Error, ErrorKind, Result};

use super::mount::{MountLine, mounts};

/// Refuses a disk of which any part is mounted, swapped to, or part of another device.
///
/// # Errors
/// `Busy`, saying which part is used for what.
pub fn refuse_disk_in_use(node: &Path, sysfs: &Path) -> Result<()> {
    let mounts = mounts()?;
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    for folder in std::iter::once(sysfs.to_owned()).chain(partition_folders(sysfs)) {
        if let Some(use_) = use_of(&folder, &mounts, &swaps) {
            return Err(busy(node, use_));
        }
    }
    Ok(())
}

/// The folders of a disk's partitions in sysfs.
pub fn partition_folders(sysfs: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sysfs).into_iter().flatten().flatten();
    let mut folders: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.join("partition").exists()).collect();
    folders.sort();
    folders
}

fn use_of(folder: &Path, mounts: &[MountLine], swaps: &str) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let node = format!("/dev/{name}");
    let number = std::fs::read_to_string(folder.join("dev")).unwrap_or_default();
    // Several-device file systems have a number of their own, and name one of their devices as the source.
    if let Some(line) = mounts.iter().find(|line| line.device == number.trim() || line.source == node) {
        return Some(format!("{node} is mounted at {}", line.at.display()));
    }
    if swaps.lines().any(|line| line.split_whitespace().next() == Some(node.as_str())) {
        return Some(format!("{node} is used as swap"));
    }
    let holder = std::fs::read_dir(folder.join("holders")).into_iter().flatten().flatten().next()?;
    Some(format!("{node} is part of /dev/{}", holder.file_name().to_string_lossy()))
}

fn busy(node: &Path, why: impl Display) -> Error {
    Error::new(ErrorKind::Busy, format!("{} is in use: {why}", node.display())).with_hint(
        "unmount it (or turn the swap off, or take the volume apart) first; --wipe does not override this",
    )
}

/// Turns the error of an exclusive open into one that says what it means.
pub fn explain_open(node: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::ResourceBusy => busy(node, "another program or mount namespace has claimed it"),
        _ => Error::io(format!("open {}", node.display()), error),
    }
}

/// Refuses an image file that a loop device shows as a disk to somebody.
///
/// # Errors
/// `Busy`, naming the loop device.
pub fn refuse_attached_file(path: &Path) -> Result<()> {
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(backing.trim_end_matches('\n')) == path {
            let name = entry.file_name();
            return Err(busy(path, format!("it is behind /dev/{}", name.to_string_lossy())));
        }
    }
    Ok(())
}
