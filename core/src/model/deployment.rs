//! Deployments: trees that a backend holds, and reports about them.

use serde::{Deserialize, Serialize};

use super::{DeploymentId, PinnedImage, Stateroot};

/// What to materialise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploySpec {
    /// The image, already in the store.
    pub image: PinnedImage,
    /// The reference that later upgrades follow; differs from `image.reference` where an install came from a local copy.
    pub origin: super::ImageReference,
    /// Whose `/var` it uses.
    pub stateroot: Stateroot,
    /// The deployment whose `/etc` is merged at finalisation; `None` at first install.
    pub merge_from: Option<DeploymentId>,
}

/// A tree that exists in the store and could be booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its name.
    pub id: DeploymentId,
    /// Whose `/var` it uses.
    pub stateroot: Stateroot,
    /// The image that it came from.
    pub image: PinnedImage,
    /// The reference that upgrades follow.
    pub origin: super::ImageReference,
    /// Whether its `/etc` is in place (it was finalised at least once).
    pub finalized: bool,
    /// Whether reads of its files are checked against digests by the kernel, with no way round.
    pub verified: bool,
    /// Whether the store itself was told to keep it, by a program of the store's own format. It counts as pinned; a backend whose store
    /// knows nothing like that says `false`.
    #[serde(default)]
    pub pinned_by_store: bool,
}

/// What a clean-up took away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Names of removed things, for people (deployments, boot entries, files).
    pub items: Vec<String>,
    /// Bytes freed, as far as known.
    pub bytes: u64,
}

impl Removed {
    /// Adds what another clean-up took away.
    pub fn add(&mut self, other: Self) {
        self.items.extend(other.items);
        self.bytes += other.bytes;
    }
}

/// One thing that a verification found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyProblem {
    /// The file or object, relative to the physical root, or to the boot partition that `problem` names.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// The deployments that need it, as far as known.
    pub deployments: Vec<DeploymentId>,
}

/// The result of checking a whole store, or all boot files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Objects and files read and compared.
    pub checked: u64,
    /// What is wrong; empty is good.
    pub problems: Vec<VerifyProblem>,
}

impl VerifyReport {
    /// Adds what another check found.
    pub fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.problems.extend(other.problems);
    }
}
