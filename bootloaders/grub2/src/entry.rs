//! An entry as it is recorded in the configuration, for us; the script beside it is for GRUB.

use bootwright_core::model::{DeploymentId, EntryId, KernelCmdline};
use serde::{Deserialize, Serialize};

use crate::{env_block::EnvBlock, places::Place};

/// The value of a counter whose entry has proved good.
pub const GOOD: &str = "ok";

/// What GRUB loads. Paths begin with a slash, at the root of the entry's file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// A kernel with separate initrds.
    Linux {
        /// The kernel.
        kernel: String,
        /// In the order in which they are concatenated.
        initrds: Vec<String>,
        /// For machines that need one.
        devicetree: Option<String>,
    },
    /// A UKI.
    Uki {
        /// The file.
        path: String,
        /// Whether the command line is handed over, in the place of what is embedded.
        with_arguments: bool,
    },
}

impl Program {
    /// Every file that it needs.
    pub fn paths(&self) -> Vec<&String> {
        match self {
            Self::Linux { kernel, initrds, devicetree } => {
                std::iter::once(kernel).chain(initrds).chain(devicetree).collect()
            }
            Self::Uki { path, .. } => vec![path],
        }
    }
}

/// Counts the tries of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The variable in the environment block.
    pub variable: String,
    /// Tries before the first one.
    pub tries: u32,
}

impl Counter {
    /// Makes the counter of the entry that a plan of `generation` puts at `rank`. No other plan uses its variable.
    pub fn new(generation: u64, rank: usize, tries: u32) -> Self {
        Self { variable: format!("bw_tries_{generation}_{rank}"), tries: tries.min(MOST_TRIES) }
    }

    /// Tries that are left, or `None` if the entry has proved good. What makes no sense counts as used up, as it does for the script.
    pub fn left(&self, env: &EnvBlock) -> Option<u32> {
        match env.get(&self.variable) {
            None | Some("") => Some(self.tries),
            Some(GOOD) => None,
            Some(text) => Some(text.parse().ok().filter(|left| *left <= self.tries).unwrap_or(0)),
        }
    }
}

/// GRUB's script has no arithmetic: each number of tries is a branch of its own.
const MOST_TRIES: u32 = 20;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// Its name, also in GRUB's menu.
    pub id: EntryId,
    /// What it boots.
    pub deployment: DeploymentId,
    /// Menu title.
    pub title: String,
    /// Version, for people.
    pub version: Option<String>,
    /// The file system that its files are on.
    pub place: Place,
    /// What GRUB loads.
    pub program: Program,
    /// All that the kernel is told.
    pub cmdline: KernelCmdline,
    /// Set while it is being tried.
    pub counter: Option<Counter>,
}

impl EntryRecord {
    /// Tries that are left, or `None` if it is not being tried.
    pub fn tries_left(&self, env: &EnvBlock) -> Option<u32> {
        self.counter.as_ref().and_then(|counter| counter.left(env))
    }

    /// How often it was started, or `None` if it is not being tried.
    pub fn tries_done(&self, env: &EnvBlock) -> Option<u32> {
        let counter = self.counter.as_ref()?;
        Some(counter.tries.saturating_sub(counter.left(env)?))
    }
}
