//! Why a boot on trial did not prove good, as that boot itself notes it before it is given up.
//!
//! The boot that fails writes one note, the next good one makes it part of the record of the lost trial ([`super::AbandonReason`]). A note may never be
//! written, where nothing of user space ran any more, and it only explains: whatever is wrong with it, it is passed over.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Engine, Observed};
use crate::{
    error::Result,
    model::{DeploymentId, UnitName},
};

/// How many units of either sort are kept: people want the first, not all that failed in consequence.
const LIMIT: usize = 5;

/// One trial of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// What is being tried.
    pub deployment: DeploymentId,
    /// [`super::DeploymentRecord::sequence`] of it: the same deployment may be made ready, and be tried, again.
    pub sequence: u64,
}

/// Units that kept a boot from proving good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Listed")]
pub struct Failure {
    failed: Vec<UnitName>,
    unfinished: Vec<UnitName>,
}

/// A [`Failure`] as somebody wrote it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    failed: Vec<UnitName>,
    #[serde(default)]
    unfinished: Vec<UnitName>,
}

impl From<Listed> for Failure {
    fn from(listed: Listed) -> Self {
        Self::new(listed.failed, listed.unfinished)
    }
}

impl Failure {
    /// The first five of each: units that failed, and units that had not finished starting.
    pub fn new(
        failed: impl IntoIterator<Item = UnitName>,
        unfinished: impl IntoIterator<Item = UnitName>,
    ) -> Self {
        Self {
            failed: failed.into_iter().take(LIMIT).collect(),
            unfinished: unfinished.into_iter().take(LIMIT).collect(),
        }
    }

    /// Units that failed.
    pub fn failed(&self) -> &[UnitName] {
        &self.failed
    }

    /// Units that had not finished starting.
    pub fn unfinished(&self) -> &[UnitName] {
        &self.unfinished
    }

    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.unfinished.is_empty()
    }
}

/// `a.service failed`, `a.service and b.service failed, c.service did not finish starting`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(&self.failed, "failed"), (&self.unfinished, "did not finish starting")];
        let told = parts.into_iter().filter(|(units, _)| !units.is_empty());
        let told = told.map(|(units, what)| format!("{} {what}", enumerated(units)));
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

fn enumerated(units: &[UnitName]) -> String {
    let names: Vec<_> = units.iter().map(UnitName::as_str).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// What a boot on trial leaves behind ([`super::StateStore::note_failure`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureNote {
    /// Whose boot it was.
    pub trial: Trial,
    /// What kept it from proving good.
    pub failure: Failure,
}

impl Observed {
    /// The trial that what runs now is in; `None` if it proved good before.
    pub fn trial(&self) -> Option<Trial> {
        let booted = self.booted.as_ref()?;
        self.boot.entry_of(booted)?.tries_left?;
        Some(self.trial_of(booted))
    }

    fn trial_of(&self, id: &DeploymentId) -> Trial {
        let sequence = self.records.get(id).map_or(0, |record| record.sequence);
        Trial { deployment: id.clone(), sequence }
    }

    /// What was noted of the present trial of a deployment, or of the one that it lost just now.
    pub(super) fn failure_of(&self, id: &DeploymentId) -> Option<Failure> {
        let note = self.failure.as_ref().filter(|note| note.trial == self.trial_of(id))?;
        Some(note.failure.clone()).filter(|failure| !failure.is_empty())
    }

    /// Whether the trial of a note is over. On a disk that is not running, that cannot be said.
    fn is_over(&self, trial: &Trial) -> bool {
        let Some(booted) = &self.booted else { return false };
        let tries_left = self.boot.entry_of(&trial.deployment).and_then(|entry| entry.tries_left);
        let goes_on = tries_left.is_some_and(|left| left > 0 || booted == &trial.deployment);
        !goes_on || *trial != self.trial_of(&trial.deployment)
    }
}

impl Engine {
    /// Removes a note whose trial is over. After what it tells was recorded: a crash in between leaves it for the next command.
    pub(super) fn forget_failure(&self, observed: &Observed) -> Result<()> {
        match &observed.failure {
            Some(note) if observed.is_over(&note.trial) => self.parts.state.forget_failure(),
            _ => Ok(()),
        }
    }
}
