//! Boot plans: what shall boot, in which order; and boot state: what is found on disk.

use std::collections::BTreeSet;

use super::{BootArtifacts, DeploymentId, EntryId, KernelCmdline};

/// All that a bootloader needs to make a new boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySpec {
    /// The deployment that it boots.
    pub deployment: DeploymentId,
    /// Menu title, from the deployment's own os-release (`PRETTY_NAME`).
    pub title: String,
    /// Version, for menus and for people.
    pub version: Option<String>,
    /// The deployment's own os-release text; a UKI that is assembled here embeds it.
    pub os_release: String,
    /// Kernel and root arguments.
    pub artifacts: BootArtifacts,
    /// Arguments besides the root arguments, in order; already checked by `compatible`.
    pub extra_args: KernelCmdline,
    /// How often it may be tried before it must have proved good; `None` means that it need not.
    pub tries: Option<u32>,
}

impl EntrySpec {
    /// The command line of a split kernel: root arguments, then the others.
    pub fn full_cmdline(&self) -> KernelCmdline {
        self.artifacts.root_args.merged_with(&self.extra_args)
    }
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedEntry {
    /// An entry that is on disk already stays, at this place in the order. Needs no backend.
    Keep(EntryId),
    /// A new entry.
    Add(Box<EntrySpec>),
}

/// What shall boot. Publishing it is the one switch of the whole system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// Counts publications; larger than that of any plan published before on this disk.
    pub generation: u64,
    /// In order of preference; the first is the default. Never empty.
    pub entries: Vec<PlannedEntry>,
    /// Boot this one once, next time only.
    pub one_shot: Option<EntryId>,
}

impl BootPlan {
    /// The entries that are not on disk yet, in order.
    pub fn added(&self) -> impl Iterator<Item = &EntrySpec> {
        self.entries.iter().filter_map(|planned| match planned {
            PlannedEntry::Add(spec) => Some(&**spec),
            PlannedEntry::Keep(_) => None,
        })
    }
}

/// One of our boot entries, as found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEntry {
    /// The loader's name for it.
    pub id: EntryId,
    /// The deployment that it boots.
    pub deployment: DeploymentId,
    /// Menu title.
    pub title: String,
    /// Version, if recorded.
    pub version: Option<String>,
    /// The command line that it boots with, as far as it can be read from disk.
    pub cmdline: Option<KernelCmdline>,
    /// Whether the loader will still choose it by itself: `Some(0)` tries are exhausted, `None` it is not being tried.
    pub tries_left: Option<u32>,
    /// How often it was started since it is being tried, if the loader counts that.
    pub tries_done: Option<u32>,
    /// Why it cannot boot (a missing or damaged file), if something is known to be wrong.
    pub problem: Option<String>,
}

/// What is published now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootState {
    /// Generation of the newest committed plan; 0 if none was ever published.
    pub generation: u64,
    /// Our entries in the order in which the loader prefers them; the first is the default.
    pub entries: Vec<PublishedEntry>,
    /// The entry that is set to boot once.
    pub one_shot: Option<EntryId>,
    /// What somebody chose to boot by default, if the loader prefers that to the first of `entries`.
    pub choice: Option<BootChoice>,
    /// The deployment whose entry this boot was started from, if loader or firmware tells. Core believes it only if the running command line
    /// names its root, and needs it where that names the root of others too.
    pub started: Option<DeploymentId>,
    /// Deployments that could start by a way that is not in `entries` (the copy on the removable-media path): never
    /// to be removed.
    pub also_bootable: BTreeSet<DeploymentId>,
    /// Names of entries that belong to somebody else; left alone (invariant I7).
    pub foreign: Vec<String>,
}

/// A choice by somebody else of what boots by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootChoice {
    /// The loader's name of the entry, or a pattern.
    pub entry: String,
    /// Where the choice is kept, for people.
    pub by: String,
    /// How it is undone, for people.
    pub undo: String,
}

impl BootState {
    /// The entry that boots next time if nothing intervenes.
    pub fn default_entry(&self) -> Option<&PublishedEntry> {
        self.entries.first()
    }

    /// The most preferred entry of this deployment.
    pub fn entry_of(&self, deployment: &DeploymentId) -> Option<&PublishedEntry> {
        self.entries.iter().find(|entry| &entry.deployment == deployment)
    }

    /// Every deployment that could start from here.
    pub fn deployments(&self) -> BTreeSet<DeploymentId> {
        self.entries.iter().map(|e| e.deployment.clone()).chain(self.also_bootable.iter().cloned()).collect()
    }
}

/// Room that staging a plan takes at its peak, on one boot file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceNeed {
    /// Which file system, for people ("the ESP").
    pub place: String,
    /// Bytes needed in addition to what is there.
    pub needed: u64,
    /// Bytes available now.
    pub available: u64,
}

impl SpaceNeed {
    /// Whether there is not enough.
    pub fn is_short(&self) -> bool {
        self.needed > self.available
    }
}
