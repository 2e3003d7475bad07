//! `install to-filesystem`: file systems that the caller made and mounted.

use std::path::{Path, PathBuf};

use bootwright_core::{
    Error, IoContext, Result,
    context::{BootDisk, PartitionIdentity},
    fs::{Faults, Root},
};

use super::{
    device::require_root,
    identify::{boot_disk, partition_of},
    mount::{is_mount_point, mount_of},
    probe::filesystem_on,
};

/// Where the ESP is looked for below the root if it is not named, most usual first.
const ESP_PLACES: [&str; 3] = ["boot/efi", "efi", "boot"];
/// What a new file system may hold already.
const EXPECTED: [&str; 3] = ["lost+found", "boot", "efi"];

/// Mounted file systems to install to.
#[derive(Debug)]
pub struct ExistingTarget {
    /// The root file system.
    pub root: Root,
    /// The EFI system partition.
    pub esp: Root,
    /// Which partition the ESP is, if it is one.
    pub esp_partition: Option<PartitionIdentity>,
    /// The disk that the ESP is on, if it is on one.
    pub disk: Option<BootDisk>,
    /// Type of the root file system.
    pub filesystem: String,
    /// UUID of the root file system.
    pub root_uuid: String,
}

impl ExistingTarget {
    /// Checks and opens them.
    ///
    /// # Errors
    /// `Permission` for anybody but root; `InvalidInput` if `root` is not a mount point, is the running system or holds files already; `NotFound` if there is no ESP.
    pub fn open(root: &Path, esp: Option<&Path>) -> Result<Self> {
        require_root()?;
        let root = root.canonicalize().context_io(|| format!("open {}", root.display()))?;
        if root == Path::new("/") {
            return Err(Error::invalid("the running system's root cannot be installed to"));
        }
        if !is_mount_point(&root) {
            return Err(Error::invalid(format!("nothing is mounted at {}", root.display()))
                .with_hint("mount the file system for the new root there first"));
        }
        refuse_occupied(&root)?;
        let esp = find_esp(&root, esp)?;
        let line = mount_of(&root)?;
        let (filesystem, root_uuid) = filesystem_on(Path::new(&line.source))?;
        let esp_located = partition_of(&mount_of(&esp)?.device)?;
        let disk = esp_located.as_ref().map(boot_disk).transpose()?;
        let esp_partition = esp_located.map(|located| located.partition.identity);
        Ok(Self {
            root: Root::open(&root, Faults::none())?,
            esp: Root::open(&esp, Faults::none())?,
            esp_partition,
            disk,
            filesystem,
            root_uuid,
        })
    }
}

fn refuse_occupied(root: &Path) -> Result<()> {
    let entries = std::fs::read_dir(root).context_io(|| format!("list {}", root.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut odd: Vec<_> = names.filter(|name| !EXPECTED.contains(&name.as_str())).collect();
    odd.sort();
    if odd.is_empty() {
        return Ok(());
    }
    odd.truncate(5);
    Err(Error::invalid(format!("{} holds files already: {}, …", root.display(), odd.join(", ")))
        .with_hint("install to a new file system"))
}

fn find_esp(root: &Path, named: Option<&Path>) -> Result<PathBuf> {
    if let Some(esp) = named {
        return esp.canonicalize().context_io(|| format!("open {}", esp.display()));
    }
    let places = ESP_PLACES.iter().map(|place| root.join(place));
    let is_esp =
        |place: &PathBuf| is_mount_point(place) && mount_of(place).is_ok_and(|m| m.filesystem == "vfat");
    places.into_iter().find(is_esp).ok_or_else(|| {
        Error::not_found(format!("no EFI system partition is mounted below {}", root.display()))
            .with_hint("mount it at boot/efi, efi or boot in the new root, or name its folder with --esp")
    })
}
