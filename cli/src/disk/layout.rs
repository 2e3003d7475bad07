//! Where the partitions go: pure arithmetic, and the script that makes `sfdisk` do it.

use std::fmt::Write as _;

use bootwright_core::{Error, ErrorKind, Result, context::PartitionIdentity};

use super::{ByteSize, Guid, size::MIB};

/// Type of the EFI system partition (UEFI specification, section 5.3.3).
pub const ESP_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/// Type of the extended boot loader partition (UAPI.2, Discoverable Partitions Specification).
pub const XBOOTLDR_TYPE: &str = "BC13C2FF-59E6-4262-A352-B275FD6F7172";
/// Type of the BIOS boot partition: no file system, a loader's own program (GRUB manual, "BIOS installation").
pub const BIOS_BOOT_TYPE: &str = "21686148-6449-6E6F-744E-656564454649";

/// Partitions start at multiples of this: a multiple of every erase block and stripe in common use.
const ALIGNMENT: u64 = MIB;
/// FAT32 needs 65525 clusters; below this size tools make another FAT, or firmware gets it wrong.
const ESP_MINIMUM: u64 = 40 * MIB;
/// Room for two copies of a loader's program, so that an update never overwrites the one in use.
const BIOS_BOOT_SIZE: u64 = 4 * MIB;
/// The backup table at the end: 33 sectors of 512 or 5 of 4096 bytes, rounded up.
const BACKUP_TABLE: u64 = MIB;

/// Root partition types by architecture, in OCI's words (UAPI.2, "Partition type GUIDs").
/// systemd-gpt-auto-generator finds the root of a sealed UKI, which carries no `root=`, by this type alone.
const ROOT_TYPES: [(&str, &str); 8] = [
    ("amd64", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
    ("arm64", "B921B045-1DF0-41C3-AF44-4C6F280D3FAE"),
    ("riscv64", "72EC70A6-CF74-40E6-BD49-4BDA08E8F224"),
    ("386", "44479540-F297-41B2-9AF7-D131D5F0458A"),
    ("arm", "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3"),
    ("loong64", "77055800-792C-4F94-B39A-98C91B762BB6"),
    ("ppc64le", "C31C45E6-3F39-412E-80FB-4809C4980599"),
    ("s390x", "5EEAD9A9-FE09-4A1E-A1D7-520D00531306"),
];

/// The root partition's type for an architecture in OCI's words.
///
/// # Errors
/// `Unsupported` for one without a type here.
pub fn root_type(architecture: &str) -> Result<&'static str> {
    let found = ROOT_TYPES.iter().find(|(name, _)| *name == architecture);
    found.map(|(_, guid)| *guid).ok_or_else(|| {
        let known: Vec<_> = ROOT_TYPES.iter().map(|(name, _)| *name).collect();
        Error::unsupported(format!("no root partition type is known for architecture {architecture:?}"))
            .with_hint(format!("known: {}", known.join(", ")))
    })
}

/// What is asked of the disk.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Size of the EFI system partition.
    pub esp: ByteSize,
    /// Size of the separate boot partition, if there shall be one.
    pub boot: Option<ByteSize>,
    /// Whether there shall be a BIOS boot partition.
    pub bios_boot: bool,
    /// Size of the root partition; `None` takes the rest of the disk.
    pub root: Option<ByteSize>,
    /// Least size of the root partition.
    pub root_minimum: ByteSize,
    /// Architecture of the image, in OCI's words.
    pub architecture: &'a str,
}

/// A partition to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPartition {
    /// Its type.
    pub kind: &'static str,
    /// Its name in the table.
    pub name: &'static str,
    /// Number, first sector, length in sectors, unique GUID.
    pub identity: PartitionIdentity,
    /// GPT attributes as `sfdisk` names them.
    pub attributes: &'static str,
}

/// A whole partition table to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Logical sector size of the disk in bytes.
    pub sector: u64,
    /// GUID of the disk.
    pub disk: Guid,
    /// The EFI system partition.
    pub esp: PlannedPartition,
    /// The root partition.
    pub root: PlannedPartition,
    /// The extended boot loader partition.
    pub boot: Option<PlannedPartition>,
    /// The BIOS boot partition.
    pub bios_boot: Option<PlannedPartition>,
}

impl Layout {
    /// Lays out a disk of `disk_bytes` bytes with logical sectors of `sector` bytes. `guids` become those of the disk, the ESP, the root,
    /// the separate boot partition and the BIOS boot partition.
    ///
    /// # Errors
    /// `NoSpace` with the numbers if the disk is too small, `InvalidInput` for an ESP too small for FAT32, `Unsupported` for the architecture.
    pub fn plan(disk_bytes: u64, sector: u64, wanted: Wanted<'_>, guids: [Guid; 5]) -> Result<Self> {
        let esp_bytes = round_up(wanted.esp.0);
        if esp_bytes < ESP_MINIMUM {
            return Err(Error::invalid(format!("an EFI system partition of {} is too small", wanted.esp))
                .with_hint(format!("FAT32 needs at least {}", ByteSize(ESP_MINIMUM))));
        }
        let boot_bytes = wanted.boot.map_or(0, |size| round_up(size.0));
        let bios_bytes = if wanted.bios_boot { BIOS_BOOT_SIZE } else { 0 };
        let boot_start = ALIGNMENT + esp_bytes;
        let bios_start = boot_start + boot_bytes;
        let root_start = bios_start + bios_bytes;
        let available = round_down(disk_bytes.saturating_sub(BACKUP_TABLE)).saturating_sub(root_start);
        let root_bytes = wanted.root.map_or(available, |size| round_up(size.0));
        let least = wanted.root_minimum.0.max(ALIGNMENT);
        if root_bytes > available || root_bytes < least {
            return Err(too_small(
                disk_bytes,
                esp_bytes + boot_bytes + bios_bytes,
                least.max(wanted.root.map_or(0, |size| size.0)),
            ));
        }
        let [disk, esp_guid, root_guid, boot_guid, bios_guid] = guids;
        let root_kind = root_type(wanted.architecture)?;
        let identity = |number, start: u64, bytes: u64, guid: Guid| PartitionIdentity {
            number,
            start: start / sector,
            size: bytes / sector,
            guid: guid.to_table(),
        };
        let further = |kind, name, identity| PlannedPartition { kind, name, identity, attributes: "" };
        let boot_identity = identity(3, boot_start, boot_bytes, boot_guid);
        let bios_identity = identity(4, bios_start, bios_bytes, bios_guid);
        let esp_identity = identity(1, ALIGNMENT, esp_bytes, esp_guid);
        let root_identity = identity(2, root_start, root_bytes, root_guid);
        Ok(Self {
            sector,
            disk,
            esp: PlannedPartition {
                kind: ESP_TYPE,
                name: "EFI-SYSTEM",
                identity: esp_identity,
                attributes: "",
            },
            // Bit 59: the file system may be grown to fill the partition (UAPI.2, "Partition flags").
            root: PlannedPartition {
                kind: root_kind,
                name: "root",
                identity: root_identity,
                attributes: "GUID:59",
            },
            boot: wanted.boot.map(|_| further(XBOOTLDR_TYPE, "boot", boot_identity)),
            bios_boot: wanted.bios_boot.then(|| further(BIOS_BOOT_TYPE, "bios-boot", bios_identity)),
        })
    }

    /// All partitions. What may be missing has the last numbers, so that those of the others never depend on it.
    pub fn partitions(&self) -> impl Iterator<Item = &PlannedPartition> {
        [&self.esp, &self.root].into_iter().chain(&self.boot).chain(&self.bios_boot)
    }

    /// The script for `sfdisk`.
    pub fn script(&self) -> String {
        let mut script = format!("label: gpt\nlabel-id: {}\nunit: sectors\n", self.disk);
        for partition in self.partitions() {
            let PartitionIdentity { number, start, size, guid } = partition.identity;
            let (kind, name, uuid) = (partition.kind, partition.name, Guid::from_table(guid));
            let _ = write!(
                script,
                "{number} : start={start}, size={size}, type={kind}, uuid={uuid}, name=\"{name}\""
            );
            if !partition.attributes.is_empty() {
                let _ = write!(script, ", attrs=\"{}\"", partition.attributes);
            }
            script.push('\n');
        }
        script
    }
}

fn too_small(disk: u64, esp: u64, root: u64) -> Error {
    let needed = ALIGNMENT + esp + round_up(root) + BACKUP_TABLE;
    Error::new(
        ErrorKind::NoSpace,
        format!(
            "the disk has {}, but {} are needed: {} for boot partitions, {} for the root, 2 MiB for partition tables",
            ByteSize(disk),
            ByteSize(needed),
            ByteSize(esp),
            ByteSize(root),
        ),
    )
    .with_hint("use a larger disk or image file, or a smaller --esp-size or --root-size")
}

fn round_up(bytes: u64) -> u64 {
    bytes.div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT)
}

fn round_down(bytes: u64) -> u64 {
    bytes / ALIGNMENT * ALIGNMENT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(esp: u64, root: Option<u64>, minimum: u64) -> Wanted<'static> {
        Wanted {
            esp: ByteSize(esp),
            boot: None,
            bios_boot: false,
            root: root.map(ByteSize),
            root_minimum: ByteSize(minimum),
            architecture: "amd64",
        }
    }

    fn plan(disk: u64, sector: u64, wanted: Wanted<'_>) -> Result<Layout> {
        Layout::plan(disk, sector, wanted, [Guid::from_table([1; 16]); 5])
    }

    #[test]
    fn the_root_takes_what_the_esp_leaves() {
        let layout = plan(4096 * MIB, 512, wanted(512 * MIB, None, 0)).unwrap();
        assert_eq!((layout.esp.identity.start, layout.esp.identity.size), (2048, 1_048_576));
        assert_eq!(layout.root.identity.start, 2048 + 1_048_576);
        assert_eq!(layout.root.identity.size * 512, (4096 - 514) * MIB);
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused_with_the_numbers() {
        let error = plan(600 * MIB, 512, wanted(512 * MIB, None, 1024 * MIB)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.message().contains("600 MiB") && error.message().contains("1.5 GiB"), "{error}");
    }

    #[test]
    fn an_architecture_without_a_type_is_refused_by_name() {
        let error = root_type("vax").unwrap_err();
        assert!(error.message().contains("vax") && error.hint().unwrap().contains("riscv64"));
    }

    proptest! {
        /// spec: BW-701
        #[test]
        fn partitions_are_aligned_disjoint_and_leave_room_for_the_backup_table(
            disk in 0u64..1 << 45, big in any::<bool>(), esp in 40 * MIB..4096 * MIB,
            root in proptest::option::of(1u64..1 << 44), minimum in 0u64..1 << 33,
        ) {
            let sector = if big { 4096 } else { 512 };
            if let Ok(layout) = plan(disk, sector, wanted(esp, root, minimum)) {
                let (e, r) = (layout.esp.identity, layout.root.identity);
                prop_assert_eq!(e.start * sector % MIB, 0);
                prop_assert_eq!(r.start * sector % MIB, 0);
                prop_assert!(e.start + e.size <= r.start && e.size * sector >= esp);
                prop_assert!((r.start + r.size) * sector + 34 * sector <= disk);
                prop_assert!(r.size * sector >= minimum.max(root.unwrap_or(1)));
            }
        }
    }
}
