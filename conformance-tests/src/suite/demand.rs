//! What a case needs of a world, by name.

use std::fmt;

use bootwright_core::{
    capability::{BackendCapabilities, BootloaderCapabilities, Capability},
    registry,
};

use super::{Cell, Firmware};
use crate::{oracle, system::KernelFormat};

/// What a world can do beyond the ordinary. A tier states which it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// [`super::Operate::stop_before`], [`super::Operate::fail_once`], [`super::Operate::mutations`],
    /// [`super::Operate::failed`], [`super::World::checkpoint`].
    CrashPoints,
    /// [`super::World::ask_plugin`].
    PluginCalls,
    /// [`super::World::damage`].
    Damage,
    /// [`super::World::leave_room_for`].
    LittleRoom,
    /// [`super::World::fill_root`].
    FullRoot,
    /// [`super::World::fingerprint`].
    Fingerprints,
    /// [`super::Operate::reboot_unconfirmed`].
    UnconfirmedBoots,
    /// [`super::World::entries`].
    BootMenus,
    /// [`super::World::add_foreign_entry`].
    ForeignEntries,
    /// [`super::Health::NeverComesUp`] images.
    FailingBoots,
    /// [`super::World::complaints`].
    IndependentEyes,
    /// Images that fail in each of the ways of [`super::Health`].
    FailureKinds,
    /// Images with this kind of flaw can be made ([`super::Defect::DamagedLayer`]).
    DamagedLayers,
    /// Images with a layer of any bytes ([`super::TestImage::layer`]).
    AnyLayers,
    /// [`super::World::lose_variables`].
    LostVariables,
    /// [`super::World::choose_default`].
    ChosenDefaults,
    /// [`super::World::set_immutable`].
    ImmutableFiles,
    /// [`super::World::set_policy`].
    SignaturePolicies,
    /// What `etc/fstab` names is mounted.
    Fstab,
    /// [`super::World::soft_reboot`], [`super::World::restart_units`].
    SoftReboots,
    /// File systems and partitions of [`super::InstallOptions`].
    DiskLayouts,
}

impl Property {
    const fn name(self) -> &'static str {
        match self {
            Self::CrashPoints => "crash points",
            Self::PluginCalls => "direct calls to plugins",
            Self::Damage => "a way to damage stored files",
            Self::LittleRoom => "a way to fill the boot partition",
            Self::FullRoot => "a way to fill the root file system",
            Self::Fingerprints => "fingerprints of all disks",
            Self::UnconfirmedBoots => "boots that nobody confirms",
            Self::BootMenus => "boot files read by somebody else than the loader",
            Self::ForeignEntries => "foreign boot entries for this bootloader",
            Self::FailingBoots => "images that never come up",
            Self::IndependentEyes => "programs of other projects that read what was written",
            Self::FailureKinds => "images that fail in several ways",
            Self::DamagedLayers => "images with a damaged layer",
            Self::AnyLayers => "images with layers of any bytes",
            Self::LostVariables => "a firmware that loses its variables",
            Self::ChosenDefaults => "a default that people can choose",
            Self::ImmutableFiles => "files that nobody may change",
            Self::SignaturePolicies => "a signature policy of the host",
            Self::Fstab => "a system that mounts what /etc/fstab names",
            Self::SoftReboots => "a user space that can restart without its kernel",
            Self::DiskLayouts => "disks that are laid out as a case asks",
        }
    }
}

/// Something that a case needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Demand {
    /// The backend has this capability (field name in [`BackendCapabilities`]).
    Backend(&'static str),
    /// The backend lacks it: for the case that shows how the lack is refused.
    BackendWithout(&'static str),
    /// The bootloader has this capability (field name in [`BootloaderCapabilities`]).
    Loader(&'static str),
    /// The bootloader lacks it.
    LoaderWithout(&'static str),
    /// The cell's kernel format.
    Format(KernelFormat),
    /// The cell can boot both kernel formats with this pair of plugins.
    BothFormats,
    /// The cell's firmware.
    Firmware(Firmware),
    /// The bootloader reads a boot partition with this file system.
    BootPartition(&'static str),
    /// A property of the tier.
    Tier(Property),
}

/// What is missing, in words that end up in the report: "the bootloader's one-shot".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a world is, for [`Demand::check`]: every [`super::World::demand`] can be this one call.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// The combination.
    pub cell: &'a Cell,
    /// Of the backend, as it is opened in this world.
    pub backend: BackendCapabilities,
    /// Of the bootloader, as it is opened in this world.
    pub loader: BootloaderCapabilities,
    /// What the tier can do.
    pub properties: &'a [Property],
}

impl Demand {
    /// Whether `offer` meets it.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, offer: &Offer<'_>) -> std::result::Result<(), Missing> {
        let (backend, loader) = (offer.backend.list(), offer.loader.list());
        let met = match self {
            Self::Backend(name) => has(&backend, name),
            Self::BackendWithout(name) => !has(&backend, name),
            Self::Loader(name) => has(&loader, name),
            Self::LoaderWithout(name) => !has(&loader, name),
            Self::Format(format) => offer.cell.format == *format,
            Self::BothFormats => both_formats(offer),
            Self::Firmware(firmware) => offer.cell.firmware == *firmware,
            Self::BootPartition(filesystem) => reads_boot_partition(&offer.cell.bootloader, filesystem),
            // Some bootloaders have no default that anybody could change.
            Self::Tier(Property::ChosenDefaults) if !oracle::has_choice(&offer.cell.bootloader) => false,
            Self::Tier(property) => offer.properties.contains(property),
        };
        if met { Ok(()) } else { Err(Missing(self.to_string())) }
    }
}

fn reads_boot_partition(bootloader: &str, filesystem: &str) -> bool {
    registry::bootloader(bootloader)
        .is_ok_and(|plugin| plugin.partitions.boot_filesystems.contains(&filesystem))
}

fn both_formats(offer: &Offer<'_>) -> bool {
    let loader = offer.loader;
    let root_reaches_a_uki = offer.backend.predictable_root_args || loader.addons;
    let uefi = offer.cell.firmware == Firmware::Uefi;
    loader.split_kernels && loader.unified_kernels && root_reaches_a_uki && uefi
}

fn has(list: &[Capability], name: &str) -> bool {
    list.iter().any(|capability| capability.name == name && capability.present)
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kebab = |name: &str| name.replace('_', "-");
        match self {
            Self::Backend(name) => write!(f, "a backend with {}", kebab(name)),
            Self::BackendWithout(name) => write!(f, "a backend without {}", kebab(name)),
            Self::Loader(name) => write!(f, "a bootloader with {}", kebab(name)),
            Self::LoaderWithout(name) => write!(f, "a bootloader without {}", kebab(name)),
            Self::Format(format) => write!(f, "{} kernels", format.name()),
            Self::BothFormats => f.write_str("a pair that boots split and unified kernels"),
            Self::Firmware(firmware) => write!(f, "{} firmware", firmware.name()),
            Self::BootPartition(filesystem) => {
                write!(f, "a bootloader that reads a boot partition with {filesystem}")
            }
            Self::Tier(property) => f.write_str(property.name()),
        }
    }
}
