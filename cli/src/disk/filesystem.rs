//! Makes file systems.

use std::path::Path;

use bootwright_core::{Error, Result};

use super::{ByteSize, Guid, tool::tool};

/// File systems that the root can be made with, and the program that makes each.
const ROOT_FILESYSTEMS: [(&str, &str); 3] =
    [("ext4", "mkfs.ext4"), ("btrfs", "mkfs.btrfs"), ("xfs", "mkfs.xfs")];

/// File systems that a separate boot partition can be made with, and the least size in MiB that their programs accept.
const BOOT_FILESYSTEMS: [(&str, u64); 4] = [("ext4", 16), ("btrfs", 128), ("xfs", 320), ("vfat", 40)];

/// The program that makes a boot file system of this type, after a look at the size of its partition.
///
/// # Errors
/// `Unsupported` for a type that is not known here, `InvalidInput` for too small a partition.
pub fn boot_maker(filesystem: &str, size: ByteSize) -> Result<&'static str> {
    let Some((_, least)) = BOOT_FILESYSTEMS.iter().find(|(name, _)| *name == filesystem) else {
        return Err(Error::unsupported(format!("a boot file system of type {filesystem:?} cannot be made"))
            .with_hint("known: ext4, btrfs, xfs, vfat"));
    };
    if size < ByteSize::mib(*least) {
        return Err(Error::invalid(format!("a boot partition of {size} is too small for {filesystem}"))
            .with_hint(format!("use at least {}", ByteSize::mib(*least))));
    }
    if filesystem == "vfat" { Ok("mkfs.vfat") } else { root_maker(filesystem) }
}

/// Makes the file system of a separate boot partition on `device`.
///
/// # Errors
/// As the program fails.
pub fn make_boot(device: &Path, filesystem: &str, label: &str) -> Result<()> {
    match filesystem {
        "vfat" => make_esp(device, label, Guid::random()?),
        other => make_root(device, other, label, Guid::random()?, &[]),
    }
}

/// The program that makes a root file system of this type.
///
/// # Errors
/// `Unsupported` for a type that is not known here, listing those that are.
pub fn root_maker(filesystem: &str) -> Result<&'static str> {
    let found = ROOT_FILESYSTEMS.iter().find(|(name, _)| *name == filesystem);
    found.map(|(_, program)| *program).ok_or_else(|| {
        let known: Vec<_> = ROOT_FILESYSTEMS.iter().map(|(name, _)| *name).collect();
        Error::unsupported(format!("a root file system of type {filesystem:?} cannot be made"))
            .with_hint(format!("known: {}", known.join(", ")))
    })
}

/// Makes the root file system on `device`, with this UUID and what the storage backend asks for.
///
/// # Errors
/// `Unsupported` for an unknown type; as the program fails.
pub fn make_root(device: &Path, filesystem: &str, label: &str, uuid: Guid, extra: &[String]) -> Result<()> {
    let maker = tool(root_maker(filesystem)?);
    let uuid = uuid.to_lower();
    let maker = match filesystem {
        "ext4" => maker.args(["-q", "-F", "-L", label, "-U", &uuid]),
        "btrfs" => maker.args(["-q", "-f", "-L", label, "-U", &uuid]),
        _ => maker.args(["-q", "-f", "-L", label]).args(["-m", &format!("uuid={uuid}")]),
    };
    maker.args(extra).arg(device).run_blocking().map(drop)
}

/// Makes the FAT32 file system of an EFI system partition on `device`.
///
/// # Errors
/// As the program fails.
pub fn make_esp(device: &Path, label: &str, serial: Guid) -> Result<()> {
    // The serial number has 32 bits; any part of a random GUID is as good as another.
    let serial: String = serial.to_string().chars().take(8).collect();
    // `-I`: it would stop at partitions that a loop device has kept from an earlier use.
    tool("mkfs.vfat")
        .args(["-I", "-F", "32", "-n", label, "-i", &serial])
        .arg(device)
        .run_blocking()
        .map(drop)
}
