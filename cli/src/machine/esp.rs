//! Finds and mounts the EFI system partition of the running system, without any helper program.

use std::{path::Path, time::Duration};

use bootwright_core::{
    Error, ErrorKind, Result,
    efi::{EfiVariables, LOADER_VENDOR},
    patience::again_while,
};
use rustix::mount::MountFlags;

use super::Access;
use crate::disk::{
    Guid,
    fat::FAT_OPTIONS,
    identify::{self, Located},
    layout::{ESP_TYPE, XBOOTLDR_TYPE},
    mount::{Mount, device_number, mount_of},
};

/// How long another command may have the partition mounted in a way that excludes ours (`status` mounts it read-only for a moment).
const PATIENCE: Duration = Duration::from_secs(5);

/// Boot partitions of a system.
#[derive(Debug)]
pub struct BootPartitions {
    /// The EFI system partition.
    pub esp: Located,
    /// The extended boot loader partition on the same disk.
    pub xbootldr: Option<Located>,
}

/// The boot partitions that belong to the physical root: the ESP that the loader says it was started from, if it is on a disk of
/// the root, else the first on those disks; else that of the loader on any disk.
///
/// # Errors
/// `NotFound` if there is none.
pub fn find(sysroot: &Path, efi: &dyn EfiVariables) -> Result<BootPartitions> {
    let beside = identify::partitions_beside(&root_device(sysroot)?)?;
    let started_from = started_from(efi);
    let esp = choose(&beside, started_from).cloned();
    let esp = match (esp, started_from) {
        (Some(esp), _) => Some(esp),
        (None, Some(_)) => choose(&identify::all_partitions()?, started_from).cloned(),
        (None, None) => None,
    };
    let esp = esp.ok_or_else(|| {
        Error::not_found(format!("the disk of {} has no EFI system partition", sysroot.display()))
            .with_hint("`bootwright` boots from one: check the partition table")
    })?;
    let xbootldr = of_type(&beside, XBOOTLDR_TYPE).find(|located| located.disk == esp.disk).cloned();
    Ok(BootPartitions { esp, xbootldr })
}

/// `major:minor` of what the physical root is on. File systems over several devices have a number that no device has: their source is one of them.
fn root_device(sysroot: &Path) -> Result<String> {
    let line = mount_of(sysroot)?;
    if line.device.starts_with("0:") { device_number(Path::new(&line.source)) } else { Ok(line.device) }
}

fn of_type<'a>(all: &'a [Located], kind: &str) -> impl Iterator<Item = &'a Located> {
    let kind = kind.parse::<Guid>().ok();
    all.iter().filter(move |located| Some(located.partition.kind) == kind)
}

fn choose(all: &[Located], preferred: Option<Guid>) -> Option<&Located> {
    let is_preferred =
        |located: &&Located| Some(Guid::from_table(located.partition.identity.guid)) == preferred;
    of_type(all, ESP_TYPE).find(is_preferred).or_else(|| of_type(all, ESP_TYPE).next())
}

/// The partition from which the loader was started (systemd, "The Boot Loader Interface", `LoaderDevicePartUUID`).
fn started_from(efi: &dyn EfiVariables) -> Option<Guid> {
    let value = efi.read(LOADER_VENDOR, "LoaderDevicePartUUID").ok()??;
    let units: Vec<u16> =
        value.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?))).collect();
    String::from_utf16_lossy(&units).trim_end_matches('\0').parse().ok()
}

/// Mounts a boot partition at `at`. For reading, read-only, unless it is mounted writable already: the kernel wants both alike.
///
/// # Errors
/// `Busy` if it stays mounted read-only elsewhere while this command must write; else as mounting fails.
pub fn mount(node: &Path, at: &Path, access: Access) -> Result<Mount> {
    if access == Access::Read
        && let Ok(mount) = mount_once(node, at, MountFlags::RDONLY)
    {
        return Ok(mount);
    }
    let attempt = || mount_once(node, at, MountFlags::empty());
    again_while(PATIENCE, |error| error.kind() == ErrorKind::Busy, attempt)
        .map_err(|error| error.with_hint("if it is mounted read-only, unmount it"))
}

fn mount_once(node: &Path, at: &Path, flags: MountFlags) -> Result<Mount> {
    let flags = flags | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // An extended boot loader partition may have any file system that its loader reads. One that is mounted already is busy for all others.
    let mut others = ["ext4", "xfs", "btrfs"].into_iter();
    Mount::new(node, at, "vfat", flags, FAT_OPTIONS)
        .or_else(|error| others.find_map(|kind| Mount::new(node, at, kind, flags, "").ok()).ok_or(error))
}

#[cfg(test)]
mod tests {
    use bootwright_core::{context::PartitionIdentity, efi::MemoryVariables, fs::Faults};

    use super::*;
    use crate::disk::gpt::Partition;

    fn located(number: u32, kind: &str) -> Located {
        let guid = [u8::try_from(number).unwrap(); 16];
        let identity = PartitionIdentity { number, start: 0, size: 1, guid };
        let partition = Partition { kind: kind.parse().unwrap(), identity, name: String::new() };
        Located { disk: "/dev/x".into(), node: format!("/dev/x{number}").into(), partition }
    }

    #[test]
    fn the_partition_that_the_loader_names_is_preferred() {
        let all = [located(1, ESP_TYPE), located(2, XBOOTLDR_TYPE), located(3, ESP_TYPE)];
        let efi = MemoryVariables::new(Faults::none());
        assert_eq!(choose(&all, started_from(&efi)).unwrap().partition.identity.number, 1);
        let text = format!("{}\0", Guid::from_table([3; 16]).to_lower());
        let value: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        efi.write(LOADER_VENDOR, "LoaderDevicePartUUID", &value).unwrap();
        assert_eq!(choose(&all, started_from(&efi)).unwrap().partition.identity.number, 3);
    }

    #[test]
    fn a_loader_variable_with_rubbish_is_ignored() {
        let efi = MemoryVariables::new(Faults::none());
        efi.write(LOADER_VENDOR, "LoaderDevicePartUUID", &[0xff; 7]).unwrap();
        assert_eq!(started_from(&efi), None);
    }
}
