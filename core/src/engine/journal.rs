//! The intent journal: what an operation set out to do, so that a crash can be told from rest.

use serde::{Deserialize, Serialize};

use crate::model::DeploymentId;

/// An operation under way. On disk from before its first change until after its last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The operation, for people ("upgrade").
    pub operation: String,
    /// The publication that it is about to commit, once known.
    pub publication: Option<Publication>,
}

/// A publication: which deployment becomes the default, and under which generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// Generation of the plan.
    pub generation: u64,
    /// The new default.
    pub default: DeploymentId,
}
