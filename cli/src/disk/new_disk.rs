//! `install to-disk`: checks first, then partitions, formats and mounts; afterwards unmounts and hands over the offline root.

use std::path::{Path, PathBuf};

use bootwright_core::{
    Effect, Error, IoContext, Result,
    context::{BootDisk, OfflineRoot, PartitionIdentity},
    fs::{Faults, Root},
    registry::Verity,
};
use rustix::mount::MountFlags;

use super::{
    Guid,
    device::{Target, TargetKind},
    fat::EspMount,
    filesystem,
    folder::MountFolder,
    gpt,
    layout::{Layout, Wanted},
    mount::{Mount, device_number, mounts},
    partition::PartitionDevice,
    probe::Contents,
    tool,
};

/// Label of the root file system and of the EFI system partition (FAT labels have at most eleven letters).
const ROOT_LABEL: &str = "root";
const ESP_LABEL: &str = "EFI-SYSTEM";
const BOOT_LABEL: &str = "BOOT";

/// What to make of a disk.
#[derive(Debug, Clone)]
pub struct DiskRequest<'a> {
    /// Sizes and architecture.
    pub wanted: Wanted<'a>,
    /// Type of the root file system.
    pub filesystem: &'a str,
    /// Type of the separate boot file system; it is made if `wanted` has a size for it.
    pub boot_filesystem: &'a str,
    /// Arguments for its `mkfs`, from the storage backend.
    pub mkfs_args: Vec<String>,
    /// Whether what is there may be overwritten.
    pub wipe: bool,
}

/// A disk that may be written, and what will be written. Nothing was changed yet.
#[derive(Debug)]
pub struct CheckedDisk {
    target: Target,
    contents: Contents,
    layout: Layout,
    filesystem: String,
    boot_filesystem: String,
    mkfs_args: Vec<String>,
    root_uuid: Guid,
}

impl CheckedDisk {
    /// Makes every check that can be made before the first write.
    ///
    /// # Errors
    /// Those of [`Target::open`]; `NotFound` for a missing program; `InvalidInput` if the disk holds data and `wipe` is
    /// not set, listing it; those of [`Layout::plan`]. The disk is unchanged in every case.
    pub fn check(path: &Path, request: DiskRequest<'_>) -> Result<Self> {
        let maker = filesystem::root_maker(request.filesystem)?;
        tool::require(&["wipefs", "sfdisk", "blkid", "losetup", "mkfs.vfat", maker])?;
        if let Some(size) = request.wanted.boot {
            tool::require(&[filesystem::boot_maker(request.boot_filesystem, size)?])?;
        }
        let target = Target::open(path)?;
        let guids = [Guid::random()?, Guid::random()?, Guid::random()?, Guid::random()?, Guid::random()?];
        let layout = Layout::plan(target.bytes(), target.sector(), request.wanted, guids)?;
        let contents = Contents::of(target.path())?;
        if !request.wipe {
            contents.refuse(target.path())?;
        }
        let root_uuid = Guid::random()?;
        let (filesystem, mkfs_args) = (request.filesystem.to_owned(), request.mkfs_args);
        let boot_filesystem = request.boot_filesystem.to_owned();
        Ok(Self { target, contents, layout, filesystem, boot_filesystem, mkfs_args, root_uuid })
    }

    /// The disk's or image file's path.
    pub fn path(&self) -> &Path {
        self.target.path()
    }

    /// Whether it is a disk or an image file.
    pub fn kind(&self) -> TargetKind {
        self.target.kind()
    }

    /// What will be lost.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The partition table to be.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Partitions, formats and mounts.
    ///
    /// # Errors
    /// As the programs and the system say, with effect `Partial`; everything that was mounted or attached is released.
    pub fn write(self) -> Result<MountedTarget> {
        self.partition_and_mount().map_err(|error| error.with_effect(Effect::Partial))
    }

    fn partition_and_mount(self) -> Result<MountedTarget> {
        let path = self.target.path();
        tool::tool("sfdisk")
            .args(["--quiet", "--wipe=always", "--wipe-partitions=always"])
            .arg(path)
            .stdin(self.layout.script())
            .run_blocking()?;
        check_table(&self.target, &self.layout)?;
        let esp_device = PartitionDevice::of(&self.target, &self.layout.esp.identity)?;
        let root_device = PartitionDevice::of(&self.target, &self.layout.root.identity)?;
        filesystem::make_esp(esp_device.node(), ESP_LABEL, Guid::random()?)?;
        let (node, uuid) = (root_device.node(), self.root_uuid);
        filesystem::make_root(node, &self.filesystem, ROOT_LABEL, uuid, &self.mkfs_args)?;
        let folder = MountFolder::new()?;
        // Before the others are mounted: mkfs.btrfs takes every part of a loop device's file for mounted if one is.
        let boot = match &self.layout.boot {
            Some(planned) => {
                Some(BootFilesystem::make(&self.target, &planned.identity, &self.boot_filesystem, &folder)?)
            }
            None => None,
        };
        let (root_at, esp_at) = (folder.sub("root")?, folder.sub("esp")?);
        let root_mount = Mount::new(node, &root_at, &self.filesystem, MountFlags::empty(), "")?;
        let esp_bytes = self.layout.esp.identity.size * self.target.sector();
        let esp_mount = EspMount::new(esp_device.node(), &esp_at, esp_bytes)?;
        let disk = BootDisk {
            path: path.to_owned(),
            sector: self.target.sector(),
            bios_boot: self.layout.bios_boot.as_ref().map(|planned| planned.identity),
        };
        Ok(MountedTarget {
            root: Root::open(&root_at, Faults::none())?,
            esp: Root::open(&esp_at, Faults::none())?,
            boot,
            disk,
            esp_mount,
            root_mount,
            offline: OfflineTarget {
                root_device,
                esp_device,
                boot_device: None,
                _folder: folder,
                scratch: tempfile::tempdir().context_io(|| "make a temporary folder".into())?,
                filesystem: self.filesystem,
                target: self.target,
            },
            esp_partition: self.layout.esp.identity,
            root_uuid: uuid,
        })
    }
}

/// Reads the table back with our own eyes: the programs that make and read it must agree on what is where.
fn check_table(target: &Target, layout: &Layout) -> Result<()> {
    let table = gpt::read(target.handle(), target.sector())?.ok_or_else(|| {
        Error::integrity(format!("{} has no partition table after sfdisk", target.path().display()))
    })?;
    for planned in layout.partitions() {
        let found = gpt::find(&table, planned.identity.guid)?;
        if found.identity != planned.identity {
            return Err(Error::integrity(format!(
                "sfdisk made partition {} another way than it was told",
                planned.identity.number
            )));
        }
    }
    Ok(())
}

/// The separate boot partition, mounted.
#[derive(Debug)]
struct BootFilesystem {
    root: Root,
    mount: BootMount,
    device: PartitionDevice,
}

#[derive(Debug)]
enum BootMount {
    Fat(EspMount),
    Other(Mount),
}

impl BootFilesystem {
    fn make(
        target: &Target,
        identity: &PartitionIdentity,
        filesystem: &str,
        folder: &MountFolder,
    ) -> Result<Self> {
        let device = PartitionDevice::of(target, identity)?;
        filesystem::make_boot(device.node(), filesystem, BOOT_LABEL)?;
        let at = folder.sub("xbootldr")?;
        let mount = if filesystem == "vfat" {
            BootMount::Fat(EspMount::new(device.node(), &at, identity.size * target.sector())?)
        } else {
            BootMount::Other(Mount::new(device.node(), &at, filesystem, MountFlags::empty(), "")?)
        };
        Ok(Self { root: Root::open(&at, Faults::none())?, mount, device })
    }

    fn finish(self) -> Result<PartitionDevice> {
        self.root.sync_filesystem()?;
        drop(self.root);
        match self.mount {
            BootMount::Fat(mount) => mount.finish()?,
            BootMount::Other(mount) => mount.unmount()?,
        }
        Ok(self.device)
    }
}

/// A disk made by [`CheckedDisk::write`], mounted in a private place. Dropping it releases everything.
#[derive(Debug)]
pub struct MountedTarget {
    // Fields are dropped in this order: open folders, mounts, then what they lie on.
    root: Root,
    esp: Root,
    boot: Option<BootFilesystem>,
    disk: BootDisk,
    esp_mount: EspMount,
    root_mount: Mount,
    offline: OfflineTarget,
    esp_partition: PartitionIdentity,
    root_uuid: Guid,
}

impl MountedTarget {
    /// The root file system. Every clone must be gone before [`MountedTarget::finish`].
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The EFI system partition. Every clone must be gone before [`MountedTarget::finish`].
    pub fn esp(&self) -> &Root {
        &self.esp
    }

    /// The separate boot partition. Every clone must be gone before [`MountedTarget::finish`].
    pub fn xbootldr(&self) -> Option<&Root> {
        self.boot.as_ref().map(|boot| &boot.root)
    }

    /// The whole disk.
    pub fn disk(&self) -> BootDisk {
        self.disk.clone()
    }

    /// Which partition the ESP is.
    pub fn esp_partition(&self) -> PartitionIdentity {
        self.esp_partition
    }

    /// Type of the root file system.
    pub fn filesystem(&self) -> &str {
        &self.offline.filesystem
    }

    /// UUID of the root file system, as `root=UUID=` takes it.
    pub fn root_uuid(&self) -> String {
        self.root_uuid.to_lower()
    }

    /// A folder for notes that outlive the mount.
    pub fn scratch(&self) -> &Path {
        self.offline.scratch.path()
    }

    /// Syncs and unmounts both file systems.
    ///
    /// # Errors
    /// `Busy` if a file or folder is still open; `Integrity` if the ESP does not read back as written. All is released then, too.
    pub fn finish(self) -> Result<OfflineTarget> {
        let Self { root, esp, boot, esp_mount, root_mount, mut offline, .. } = self;
        let unmounted = (|| {
            root.sync_filesystem()?;
            esp.sync_filesystem()?;
            drop((root, esp));
            esp_mount.finish()?;
            offline.boot_device = boot.map(BootFilesystem::finish).transpose()?;
            root_mount.unmount()?;
            offline.check_unmounted()
        })();
        unmounted.map_err(|error: Error| error.with_effect(Effect::Partial))?;
        Ok(offline)
    }
}

/// A disk whose file systems are complete and not mounted.
#[derive(Debug)]
pub struct OfflineTarget {
    root_device: PartitionDevice,
    esp_device: PartitionDevice,
    boot_device: Option<PartitionDevice>,
    _folder: MountFolder,
    scratch: tempfile::TempDir,
    filesystem: String,
    target: Target,
}

impl OfflineTarget {
    /// The root, for the storage backend's offline step.
    pub fn root(&self, verity: Verity) -> OfflineRoot {
        OfflineRoot {
            device: self.root_device.node().to_owned(),
            filesystem: self.filesystem.clone(),
            verity,
            scratch: self.scratch.path().to_owned(),
        }
    }

    /// The disk's or image file's path.
    pub fn path(&self) -> &Path {
        self.target.path()
    }

    fn nodes(&self) -> Vec<PathBuf> {
        let devices = [&self.root_device, &self.esp_device].into_iter().chain(&self.boot_device);
        devices.map(|device| device.node().to_owned()).collect()
    }

    fn check_unmounted(&self) -> Result<()> {
        let lines = mounts()?;
        for node in self.nodes() {
            let number = device_number(&node)?;
            if let Some(line) = lines.iter().find(|line| line.device == number) {
                let message = format!("{} is still mounted at {}", node.display(), line.at.display());
                return Err(Error::internal(message));
            }
        }
        Ok(())
    }

    /// Makes everything durable and lets go of the disk.
    ///
    /// # Errors
    /// As syncing fails.
    pub fn close(self) -> Result<()> {
        self.check_unmounted()?;
        self.root_device.sync()?;
        self.esp_device.sync()?;
        self.boot_device.iter().try_for_each(PartitionDevice::sync)?;
        let what = || format!("sync {}", self.target.path().display());
        self.target.handle().sync_all().context_io(what)
    }
}
