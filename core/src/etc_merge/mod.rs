//! The three-way merge of `/etc`: old default, local state, new default.

use serde::{Deserialize, Serialize};

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergeReport {
    /// Local additions and changes that were carried over.
    pub kept: u64,
    /// Local deletions that were repeated.
    pub deleted: u64,
    /// Paths, relative to `/etc`, that both sides changed in different ways; the local one is in force.
    pub conflicts: Vec<String>,
}
