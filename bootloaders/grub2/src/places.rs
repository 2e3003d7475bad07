//! Where boot files lie: which file systems GRUB can be trusted to read, and how its script finds them again.

use bootwright_core::{
    Error, IoContext, Result,
    context::BootContext,
    fs::{ReplaceStyle, Root},
    process::Tool,
};
use serde::{Deserialize, Serialize};

/// Our folder on every file system. Each folder in it is named by the SHA-256 of what it holds.
const STORE: &str = "bootwright-grub";
/// Prefix of the empty file by whose name GRUB recognises the file system.
const MARKER: &str = "disk-";

/// `f_type` of statfs(2) of file systems that matter here.
const EXT4: u64 = 0xef53;
const BTRFS: u64 = 0x9123_683e;
const XFS: u64 = 0x5846_5342;
const FAT: u64 = 0x4d44;

/// A file system that holds boot files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The EFI system partition.
    Esp,
    /// The separate boot partition.
    Boot,
    /// The folder `boot` of the root file system.
    Root,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Esp, Self::Boot, Self::Root];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esp => "the ESP",
            Self::Boot => "the boot partition",
            Self::Root => "the root file system",
        }
    }

    /// The variable of GRUB's script that holds its device.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Esp => "bw_esp",
            Self::Boot => "bw_boot",
            Self::Root => "bw_root",
        }
    }

    /// Our folder on it.
    pub fn store(self) -> String {
        match self {
            Self::Root => format!("boot/{STORE}"),
            _ => STORE.to_owned(),
        }
    }

    /// The file system, if this machine has it.
    pub fn root(self, context: &BootContext) -> Option<&Root> {
        match self {
            Self::Esp => Some(&context.esp),
            Self::Boot => context.xbootldr.as_ref(),
            Self::Root => Some(&context.sysroot),
        }
    }

    /// The same, where it must be there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn require(self, context: &BootContext) -> Result<&Root> {
        self.root(context).ok_or_else(|| Error::not_found(format!("{} is missing", self.name())))
    }
}

/// Where a new kernel with separate initrds goes.
///
/// XFS gives GRUB a new file only after it was frozen, and the root file system is never frozen: there the ESP takes the kernels.
///
/// # Errors
/// `Io` if a file system does not say what it is.
pub fn for_split(context: &BootContext) -> Result<Place> {
    if context.xbootldr.is_some() {
        return Ok(Place::Boot);
    }
    let readable = matches!(kind_of(&context.sysroot)?, EXT4 | BTRFS);
    // Something else may be mounted at `boot`, which GRUB would not see below the root.
    let own = !context.sysroot.exists("boot") || same_device(&context.sysroot, "boot")?;
    Ok(if readable && own { Place::Root } else { Place::Esp })
}

/// Where a new UKI goes: a file system that the firmware knows, so that the UKI learns which disk it came from.
///
/// # Errors
/// `Io` if a file system does not say what it is.
pub fn for_uki(context: &BootContext) -> Result<Place> {
    match &context.xbootldr {
        Some(boot) if kind_of(boot)? == FAT => Ok(Place::Boot),
        _ => Ok(Place::Esp),
    }
}

fn kind_of(root: &Root) -> Result<u64> {
    let stats = rustix::fs::fstatfs(root.dir())
        .context_io(|| format!("ask for the file system of {}", root.label().display()))?;
    Ok(u64::try_from(stats.f_type).unwrap_or_default())
}

fn same_device(root: &Root, path: &str) -> Result<bool> {
    let what = || format!("look at {}", root.show(path));
    let above = rustix::fs::fstat(root.dir()).context_io(what)?.st_dev;
    let below = rustix::fs::statat(root.dir(), path, rustix::fs::AtFlags::empty()).context_io(what)?.st_dev;
    Ok(above == below)
}

/// The absolute path on `place` of the file by which GRUB finds it.
///
/// # Errors
/// `NotFound` if it was never made.
pub fn marker(context: &BootContext, place: Place) -> Result<String> {
    find_marker(place.require(context)?, place)?
        .ok_or_else(|| Error::not_found(format!("GRUB's mark on {} is missing", place.name())))
}

fn find_marker(root: &Root, place: Place) -> Result<Option<String>> {
    let store = place.store();
    let found = root.list(&store)?.into_iter().find(|name| name.starts_with(MARKER));
    Ok(found.map(|name| format!("/{store}/{name}")))
}

/// Whether this name in our folder is the mark.
pub fn is_marker(name: &str) -> bool {
    name.starts_with(MARKER)
}

/// Makes the mark if there is none. The ESP needs none: GRUB is started from there.
///
/// # Errors
/// As the system says.
pub fn make_marker(root: &Root, place: Place) -> Result<()> {
    if place == Place::Esp || find_marker(root, place)?.is_some() {
        return Ok(());
    }
    let random = "/proc/sys/kernel/random/uuid";
    let random = std::fs::read_to_string(random).context_io(|| format!("read {random}"))?;
    root.replace(&format!("{}/{MARKER}{}", place.store(), random.trim()), b"", ReplaceStyle::Durable)
}

/// Makes everything on a file system readable for GRUB, which replays no journal.
///
/// ext4 has its metadata in place after `syncfs` (after an fsync it does not); btrfs has a new tree then, and FAT has no journal. XFS writes its
/// log back only when it is frozen.
///
/// # Errors
/// As the system says.
pub fn settle(root: &Root) -> Result<()> {
    root.faults().before(&format!("sync the file system of {}", root.label().display()))?;
    root.sync_filesystem()?;
    if kind_of(root)? == XFS { freeze_and_thaw(root) } else { Ok(()) }
}

/// Another process does both, so that the death of this one leaves nothing frozen; it stays in the folder, because the path that it is
/// given ends with this process. A file system that was frozen before is thawed first: only a stopped helper can have left it so.
fn freeze_and_thaw(root: &Root) -> Result<()> {
    const SCRIPT: &str = "trap '' HUP INT TERM; cd \"$1\" || exit 1; fsfreeze --unfreeze . 2>/dev/null; \
                          fsfreeze --freeze . || exit 1; fsfreeze --unfreeze . || fsfreeze --unfreeze .";
    let tool = Tool::new("sh").args(["-c", SCRIPT, "sh"]).arg(root.proc_path());
    tool.run_blocking().map(drop)
}
