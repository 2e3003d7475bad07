//! From a mounted file system back to its partition and disk, through sysfs and the partition table.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use bootwright_core::{IoContext, Result, context::BootDisk};

use super::{Guid, device::sysfs_number, gpt, layout::BIOS_BOOT_TYPE};

/// A partition and the disk that it is on.
#[derive(Debug, Clone)]
pub struct Located {
    /// Node of the disk.
    pub disk: PathBuf,
    /// Node of the partition.
    pub node: PathBuf,
    /// The partition.
    pub partition: gpt::Partition,
}

/// The whole disk of a partition, for loaders that BIOS starts.
///
/// # Errors
/// As reading the disk fails.
pub fn boot_disk(located: &Located) -> Result<BootDisk> {
    let name = located.disk.file_name().unwrap_or_default();
    let folder = Path::new("/sys/class/block").join(name);
    let kind = BIOS_BOOT_TYPE.parse::<Guid>().ok();
    let all = partitions_of(&folder)?;
    let bios_boot = all.iter().find(|other| Some(other.partition.kind) == kind);
    Ok(BootDisk {
        path: located.disk.clone(),
        sector: sysfs_number(&folder.join("queue/logical_block_size"))?,
        bios_boot: bios_boot.map(|other| other.partition.identity),
    })
}

/// Every GPT partition of the disks that carry block device `number` (`major:minor`): its own disk, or those below a
/// volume (LVM, LUKS, RAID). Empty if there is none.
///
/// # Errors
/// As reading a disk fails.
pub fn partitions_beside(number: &str) -> Result<Vec<Located>> {
    let mut found = Vec::new();
    for disk in disks_below(Path::new(&format!("/sys/dev/block/{number}"))) {
        found.extend(partitions_of(&disk)?);
    }
    Ok(found)
}

/// The partition that block device `number` is, if it is one on a GPT disk.
///
/// # Errors
/// As reading the disk fails.
pub fn partition_of(number: &str) -> Result<Option<Located>> {
    let folder = PathBuf::from(format!("/sys/dev/block/{number}"));
    let Ok(index) = sysfs_number(&folder.join("partition")) else { return Ok(None) };
    let all = partitions_beside(number)?;
    Ok(all.into_iter().find(|located| u64::from(located.partition.identity.number) == index))
}

/// Every GPT partition of this machine. Disks that cannot be read are passed over.
///
/// # Errors
/// As listing disks fails.
pub fn all_partitions() -> Result<Vec<Located>> {
    let disks = std::fs::read_dir("/sys/block").context_io(|| "list /sys/block".to_owned())?;
    Ok(disks.flatten().filter_map(|disk| partitions_of(&disk.path()).ok()).flatten().collect())
}

/// Folders in sysfs of the whole disks at the bottom of a device.
fn disks_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(folder) = folder.canonicalize() else { return Vec::new() };
    if folder.join("partition").exists() {
        return folder.parent().map(Path::to_owned).into_iter().collect();
    }
    let below: Vec<_> =
        std::fs::read_dir(folder.join("slaves")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    if below.is_empty() {
        return vec![folder];
    }
    let mut disks: Vec<_> = below.iter().flat_map(|slave| disks_below(slave)).collect();
    disks.sort();
    disks.dedup();
    disks
}

/// The GPT partitions of the disk with this folder in sysfs that have a device node.
fn partitions_of(folder: &Path) -> Result<Vec<Located>> {
    let Some(disk) = folder.file_name().map(|name| Path::new("/dev").join(name)) else {
        return Ok(Vec::new());
    };
    let sector = sysfs_number(&folder.join("queue/logical_block_size"))?;
    let file = File::open(&disk).context_io(|| format!("open {}", disk.display()))?;
    let table = gpt::read(&file, sector)?.unwrap_or_default();
    let nodes = nodes_of(folder);
    let located = |partition: gpt::Partition| {
        let number = u64::from(partition.identity.number);
        let node = nodes.iter().find(|(n, _)| *n == number)?.1.clone();
        Some(Located { disk: disk.clone(), node, partition })
    };
    Ok(table.into_iter().filter_map(located).collect())
}

fn nodes_of(folder: &Path) -> Vec<(u64, PathBuf)> {
    let folders = super::in_use::partition_folders(folder);
    let pair = |path: &PathBuf| {
        Some((sysfs_number(&path.join("partition")).ok()?, Path::new("/dev").join(path.file_name()?)))
    };
    folders.iter().filter_map(pair).collect()
}
