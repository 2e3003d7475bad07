//! The contract of a world. Cases are written against it; each tier implements it once.

use std::{any::Any, fmt::Debug};

use async_trait::async_trait;

use super::Operate;
use crate::suite::{
    Cell, Channel, Demand, Fingerprint, Missing, Points, Property, Result, Running, SeenEntry, TestImage,
    Tier, Version,
};

/// Choices of an install.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallOptions {
    /// Kernel arguments of the administrator.
    pub kargs: Vec<String>,
    /// Insist on verified reads, whatever the backend can do (`--require-verity`).
    pub require_verity: bool,
    /// File system of the root; its reads need not be verified (`--filesystem`, `--allow-missing-verity`).
    pub unverified_filesystem: Option<&'static str>,
    /// A boot partition with this file system (`--boot-partition`, `--boot-filesystem`).
    pub boot_filesystem: Option<&'static str>,
}

/// How far an upgrade goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeMode {
    /// `--check`: look only.
    Check,
    /// `--download-only`: fetch, but wait for being asked.
    DownloadOnly,
    /// Make it the default at the next shutdown.
    Stage,
    /// The same (`--retry`), also if it lost its trial here or was rolled back.
    Retry,
}

impl From<UpgradeMode> for bootwright_core::engine::UpdateMode {
    fn from(mode: UpgradeMode) -> Self {
        match mode {
            UpgradeMode::Check => Self::Check,
            UpgradeMode::DownloadOnly => Self::DownloadOnly,
            UpgradeMode::Stage | UpgradeMode::Retry => Self::Stage,
        }
    }
}

/// What is to be damaged, behind everybody's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One stored object that holds a file of this version's `/usr` gets other bytes of the same length.
    StoredFile(Version),
    /// The same object is deleted.
    MissingFile(Version),
    /// The kernel (or UKI) that this version's boot entry loads is truncated to nothing.
    BootFile(Version),
}

/// What is used up on a full root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filler {
    /// Blocks of 4 KiB.
    Blocks,
    /// Inodes.
    Inodes,
}

impl Filler {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Blocks, Self::Inodes];
}

/// Something that capabilities exclude, asked of a plugin directly, as the engine would if it did not know better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginCall {
    /// Ask the backend for root arguments ahead of deployment (`predictable_root_args`).
    RootArgs,
    /// Make a store that must verify (`verified_root`).
    VerifiedStore,
    /// Make a verified store that is sealed later, where this kernel cannot do it now (`offline_seal`).
    OfflineSeal,
    /// Stage a plan with a one-shot boot of the present default (`one_shot`).
    OneShot,
    /// Stage a plan with a new entry whose tries are counted (`boot_counting`).
    CountedTries,
    /// Stage a plan with a new entry for kernel and initrd (`split_kernels`).
    SplitEntry,
    /// Stage a plan with a new entry for a UKI (`unified_kernels`).
    UnifiedEntry,
    /// Stage a plan with a new entry for a UKI and arguments besides (`addons`).
    ExtraArguments,
}

/// One machine: disks, firmware, what was published for it, and what runs.
///
/// Object safe. Every method is one thing that a person does, and returns when it is done. What the system refuses is
/// [`super::super::Trouble::Refused`]; a broken fixture is `World`. A method that the tier cannot offer returns `Missing`, and
/// [`World::demand`] says so beforehand for the [`super::super::Property`] that names the method.
///
/// Versions: a case never invents one, it takes [`World::next_version`]. Paths are without a leading slash.
#[async_trait]
pub trait World: Operate {
    /// The combination.
    fn cell(&self) -> &Cell;

    /// How real it is.
    fn tier(&self) -> Tier;

    /// Whether a demand is met.
    ///
    /// # Errors
    /// What is missing.
    fn demand(&self, demand: &Demand) -> std::result::Result<(), Missing>;

    /// How many points of a verb a sweep is to try here.
    fn points(&self) -> Points;

    /// A version that no image of this machine has had: one more each time.
    fn next_version(&mut self) -> Version;

    /// Makes `channel` name this image from now on. What the channel named before can no longer be fetched.
    async fn publish(&mut self, channel: Channel, image: &TestImage) -> Result<()>;

    /// Installs what [`Channel::MAIN`] names onto the empty disk. Nothing runs afterwards.
    ///
    /// - Installing onto a disk that has a system must be refused by the system.
    async fn install(&mut self, options: &InstallOptions) -> Result<()>;

    /// Somebody restarts the units of the program, as tools for configuration do. Only with [`Property::SoftReboots`].
    async fn restart_units(&mut self) -> Result<()> {
        Err(Property::SoftReboots.into())
    }

    /// User space alone is restarted; neither kernel, firmware nor loader are. Only with [`Property::SoftReboots`].
    async fn soft_reboot(&mut self) -> Result<Running> {
        Err(Property::SoftReboots.into())
    }

    /// What runs.
    ///
    /// # Errors
    /// `World` if nothing does.
    async fn running(&mut self) -> Result<Running>;

    /// The kernel command line that is in effect.
    async fn cmdline(&mut self) -> Result<String>;

    /// Text of a file of the running system (`usr/…`, `etc/…`, `var/…`), or `None` if there is none.
    async fn read(&mut self, path: &str) -> Result<Option<String>>;

    /// Writes a file in the running system's `etc/` or `var/`, with its folders. It is on the disk then: a power cut does not undo it.
    async fn write(&mut self, path: &str, text: &str) -> Result<()>;

    /// Removes a file in the running system's `etc/` or `var/`, on the disk, too.
    async fn remove(&mut self, path: &str) -> Result<()>;

    /// What firmware and loader would show, the default first, read from the boot files and variables without the plugins' help.
    async fn entries(&mut self) -> Result<Vec<SeenEntry>>;

    /// What programs of other projects that read the same files (`bootctl`, `efibootmgr`, `ostree`, `systemd-analyze`) say against them; empty if
    /// nothing.
    async fn complaints(&mut self) -> Result<Vec<String>>;

    /// Adds a boot entry as another program would (one fixture per bootloader), with files of its own where the loader has such; it must
    /// not become the default. Returns its name in [`World::entries`].
    async fn add_foreign_entry(&mut self) -> Result<String>;

    /// Somebody makes another entry the default, by its name in [`World::entries`], with the means of loader or firmware. `Missing` where
    /// those have none.
    async fn choose_default(&mut self, entry: &str) -> Result<()> {
        let _ = entry;
        Err(Property::ChosenDefaults.into())
    }

    /// Everything on all disks and in firmware variables.
    async fn fingerprint(&mut self) -> Result<Fingerprint>;

    /// Damages something.
    async fn damage(&mut self, what: Damage) -> Result<()>;

    /// Fills the place where boot files go, until not more than `entries` further large kernels fit there; `None` frees it again.
    async fn leave_room_for(&mut self, entries: Option<u32>) -> Result<()>;

    /// Fills the root file system, until `left` blocks of 4 KiB or files more can be made. What filled it before goes. Only with
    /// [`Property::FullRoot`].
    async fn fill_root(&mut self, with: Filler, left: u64) -> Result<()> {
        let _ = (with, left);
        Err(Property::FullRoot.into())
    }

    /// Lets nobody change, rename or remove a file of the running system (`chattr +i`), or anybody again. Only with
    /// [`Property::ImmutableFiles`].
    async fn set_immutable(&mut self, path: &str, immutable: bool) -> Result<()> {
        let _ = (path, immutable);
        Err(Property::ImmutableFiles.into())
    }

    /// Removes what filled it.
    async fn empty_root(&mut self) -> Result<()> {
        Err(Property::FullRoot.into())
    }

    /// Makes this text the host's policy for images, as containers-policy.json(5) describes it; `None`: there is none, and every image is let in. Only
    /// with [`Property::SignaturePolicies`].
    async fn set_policy(&mut self, text: Option<&str>) -> Result<()> {
        let _ = text;
        Err(Property::SignaturePolicies.into())
    }

    /// The firmware forgets every variable, as after an update of it, or with an empty battery. Only with [`Property::LostVariables`].
    async fn lose_variables(&mut self) -> Result<()> {
        Err(Property::LostVariables.into())
    }

    /// Asks a plugin for something directly; used only where the capabilities exclude it. [`PluginCall`] says what.
    async fn ask_plugin(&mut self, call: PluginCall) -> Result<()>;

    /// The machine as it is: disks, firmware, what runs, what is published.
    async fn checkpoint(&mut self) -> Result<Box<dyn Any + Send + Sync>>;

    /// Back to a checkpoint of this machine, any number of times.
    async fn restore(&mut self, checkpoint: &(dyn Any + Send + Sync)) -> Result<()>;
}

/// What becomes of a machine after a case that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Nothing: each case has a new one.
    No,
    /// It is put back ([`World::restore`]) to where the case began, for the next case that does not start from an empty disk.
    Restored,
    /// The next case with [`super::super::Setting::Running`] goes on with it as it is: neither making nor restoring one is cheap.
    AsItIs,
}

/// Makes worlds of one tier.
#[async_trait]
pub trait WorldFactory: Debug + Send + Sync {
    /// Which.
    fn tier(&self) -> Tier;

    /// What becomes of a machine after a case that passed.
    fn reuse(&self) -> Reuse;

    /// Whether this tier can run the cell here (programs, privileges, hardware).
    ///
    /// # Errors
    /// What is missing: the cell's cases are then ignored with it.
    fn can_run(&self, cell: &Cell) -> std::result::Result<(), Missing>;

    /// A machine with an empty disk, on which sweeps try so many points of a verb; `None`: as many as suit the tier.
    ///
    /// # Errors
    /// `World` if it cannot be made.
    async fn blank(&self, cell: &Cell, points: Option<Points>) -> Result<Box<dyn World>>;
}
