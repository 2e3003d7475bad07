//! What a system looks like, for people and programs.

use super::{Abandoned, DeploymentRecord, Engine, Intent, Observed, SystemRecord};
use crate::{
    error::Result,
    model::{BootChoice, Deployment, DeploymentId, PublishedEntry},
};

/// One deployment with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// What the backend knows.
    pub deployment: Deployment,
    /// What core knows.
    pub record: DeploymentRecord,
    /// Its boot entry, if it is published.
    pub entry: Option<PublishedEntry>,
}

impl DeploymentStatus {
    /// Whether it stays until somebody says otherwise.
    pub fn is_pinned(&self) -> bool {
        self.record.pinned || self.deployment.pinned_by_store
    }
}

/// A whole system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Choices of the install, if recorded.
    pub system: Option<SystemRecord>,
    /// Becomes the default at the next shutdown.
    pub staged: Option<DeploymentStatus>,
    /// The staged one was only downloaded and waits to be asked for.
    pub staged_on_hold: bool,
    /// The staged one should have become the default at an earlier shutdown, but power was cut before.
    pub finalization_missed: bool,
    /// Runs now.
    pub booted: Option<DeploymentStatus>,
    /// What a rollback leads to.
    pub rollback: Option<DeploymentStatus>,
    /// A rollback waits for its reboot.
    pub rollback_queued: bool,
    /// The rest, most preferred first.
    pub others: Vec<DeploymentStatus>,
    /// The deployment that boots next if nothing intervenes.
    pub default: Option<DeploymentId>,
    /// Images that this machine left, oldest first: they lost their trial or were rolled back.
    pub abandoned: Vec<Abandoned>,
    /// What somebody chose to boot by default instead.
    pub choice: Option<BootChoice>,
    /// Boot entries that belong to somebody else.
    pub foreign: Vec<String>,
    /// An operation that was interrupted; the next command that writes recovers it.
    pub interrupted: Option<Intent>,
}

impl Engine {
    /// Looks; changes nothing.
    pub async fn status(&self) -> Result<Status> {
        let observed = self.observe().await?;
        let state = &self.parts.state;
        let mut status = describe(&observed, &self.parts.boot_id);
        status.system = state.system()?;
        status.interrupted = state.journal()?;
        Ok(status)
    }
}

fn describe(observed: &Observed, boot_id: &str) -> Status {
    let staged = observed.staged.as_ref();
    // While a rollback waits, a further one would lead back to what runs: show what is queued.
    let rollback =
        if observed.rollback_queued() { observed.default_deployment() } else { observed.rollback_target() };
    let special = [staged.map(|staged| &staged.deployment), observed.booted.as_ref(), rollback];
    let one = |id: &DeploymentId| describe_one(observed, id);
    Status {
        staged: staged.and_then(|staged| one(&staged.deployment)),
        staged_on_hold: staged.is_some_and(|staged| staged.hold),
        finalization_missed: staged.is_some_and(|staged| !staged.hold && staged.boot_id != boot_id),
        booted: observed.booted.as_ref().and_then(one),
        rollback: rollback.and_then(one),
        rollback_queued: observed.rollback_queued(),
        others: remaining(observed, &special).iter().filter_map(one).collect(),
        default: observed.default_deployment().cloned(),
        abandoned: observed.abandoned(),
        choice: observed.boot.choice.clone(),
        foreign: observed.boot.foreign.clone(),
        ..Status::default()
    }
}

/// Published ones in order, then those that only the store knows.
fn remaining(observed: &Observed, special: &[Option<&DeploymentId>]) -> Vec<DeploymentId> {
    let mut rest = observed.order();
    let unpublished: Vec<_> = observed.deployments.keys().filter(|id| !rest.contains(id)).cloned().collect();
    rest.extend(unpublished);
    rest.retain(|id| !special.contains(&Some(id)));
    rest
}

fn describe_one(observed: &Observed, id: &DeploymentId) -> Option<DeploymentStatus> {
    Some(DeploymentStatus {
        deployment: observed.deployments.get(id)?.clone(),
        record: observed.records.get(id).cloned().unwrap_or_default(),
        entry: observed.boot.entry_of(id).cloned(),
    })
}
