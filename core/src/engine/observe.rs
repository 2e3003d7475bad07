//! Reading the disk: everything a plan depends on, as plain data.

use std::collections::BTreeMap;

use super::{Abandoned, DeploymentRecord, Engine, FailureNote, StagedRecord};
use crate::{
    error::Result,
    model::{BootState, Deployment, DeploymentId, PublishedEntry},
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Every deployment in the store.
    pub deployments: BTreeMap<DeploymentId, Deployment>,
    /// Core's record of each.
    pub records: BTreeMap<DeploymentId, DeploymentRecord>,
    /// The one that runs now, if the running system is one of them.
    pub booted: Option<DeploymentId>,
    /// What is published.
    pub boot: BootState,
    /// What becomes the default at the next shutdown.
    pub staged: Option<StagedRecord>,
    /// Images that this machine left, as recorded; [`Observed::abandoned`] is the whole list.
    pub recorded: Vec<Abandoned>,
    /// What a boot on trial noted of its failure.
    pub failure: Option<FailureNote>,
}

impl Observed {
    /// The deployment that boots next time if nothing intervenes.
    pub fn default_deployment(&self) -> Option<&DeploymentId> {
        self.boot.default_entry().map(|entry| &entry.deployment)
    }

    /// Whether what runs now was not confirmed as good yet.
    pub fn on_trial(&self) -> bool {
        self.trial().is_some()
    }

    /// Whether the default is not what runs now, although that is not on trial: a rollback waits for its reboot.
    pub fn rollback_queued(&self) -> bool {
        let Some(booted) = &self.booted else { return false };
        !self.on_trial() && Some(booted) != self.default_deployment()
    }

    /// The deployment that a rollback leads to: the running one if a rollback is queued (it undoes that), otherwise the
    /// most preferred one that is neither running nor known to be broken.
    pub fn rollback_target(&self) -> Option<&DeploymentId> {
        let current = self.booted.as_ref().or(self.default_deployment());
        if self.rollback_queued() {
            return current;
        }
        let usable = |id: &&DeploymentId| Some(*id) != current && self.deployments.contains_key(*id);
        let sound = |entry: &&PublishedEntry| entry.problem.is_none() && entry.tries_left != Some(0);
        self.boot.entries.iter().filter(sound).map(|entry| &entry.deployment).find(usable)
    }

    /// Published deployments in order, each once.
    pub fn order(&self) -> Vec<DeploymentId> {
        let mut order = Vec::new();
        for entry in &self.boot.entries {
            if !order.contains(&entry.deployment) {
                order.push(entry.deployment.clone());
            }
        }
        order
    }

    /// The same with `first` in front.
    pub fn order_with(&self, first: &[&DeploymentId]) -> Vec<DeploymentId> {
        let mut order: Vec<_> = Vec::new();
        for id in first.iter().copied().chain(&self.order()) {
            if !order.contains(id) {
                order.push(id.clone());
            }
        }
        order
    }
}

/// What runs sooner than `likely`, if the running command line names its root as well.
fn sooner_than<'a>(likely: &DeploymentId, boot: &'a BootState) -> Vec<&'a DeploymentId> {
    let on_trial = |id: &DeploymentId| boot.entry_of(id).is_some_and(|entry| entry.tries_left.is_some());
    match &boot.started {
        Some(started) if started == likely => Vec::new(),
        Some(started) => vec![started],
        None if on_trial(likely) => {
            boot.entries.iter().map(|entry| &entry.deployment).filter(|id| !on_trial(id)).collect()
        }
        None => Vec::new(),
    }
}

impl Engine {
    /// Reads store, boot files and records. Changes nothing.
    ///
    /// # Errors
    /// Whatever the plugins report; foreign or damaged boot entries are no error.
    pub async fn observe(&self) -> Result<Observed> {
        let parts = &self.parts;
        let mut observed = Observed {
            boot: parts.loader.read().await?,
            staged: parts.state.staged()?,
            recorded: parts.state.abandoned()?,
            failure: parts.state.failure(),
            ..Observed::default()
        };
        for deployment in parts.backend.deployments().await? {
            let id = deployment.id.clone();
            observed.records.insert(id.clone(), parts.state.record(&id)?);
            observed.deployments.insert(id, deployment);
        }
        observed.booted = self.booted(&observed).await?;
        Ok(observed)
    }

    /// What runs. Where deployments share their root argument, the backend cannot tell them apart, and loader or firmware has to; if they do not, what
    /// is on trial is taken to have failed: a good one is tried again then, but a bad one never confirmed.
    async fn booted(&self, observed: &Observed) -> Result<Option<DeploymentId>> {
        let likely = self.parts.backend.booted(&self.parts.running_cmdline).await?;
        let Some(likely) = likely else { return Ok(None) };
        let sooner = sooner_than(&likely, &observed.boot);
        for id in sooner.into_iter().filter(|id| observed.deployments.contains_key(id)) {
            let root = self.parts.backend.boot_artifacts(id).await?.root_args;
            if self.parts.running_cmdline.contains_all(&root) {
                return Ok(Some(id.clone()));
            }
        }
        Ok(Some(likely))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryId;

    fn id(name: &str) -> DeploymentId {
        DeploymentId::new(name).unwrap()
    }

    fn boot(entries: &[(&str, Option<u32>)], started: Option<&str>) -> BootState {
        let entry = |(name, tries_left): &(&str, Option<u32>)| PublishedEntry {
            id: EntryId::new(*name).unwrap(),
            deployment: id(name),
            title: String::new(),
            version: None,
            cmdline: None,
            tries_left: *tries_left,
            tries_done: None,
            problem: None,
        };
        let entries = entries.iter().map(entry).collect();
        BootState { entries, started: started.map(id), ..BootState::default() }
    }

    #[test]
    fn what_the_loader_started_runs_sooner_than_what_the_backend_takes_for_likely() {
        let entries = [("old", None), ("new", Some(0))];
        assert_eq!(sooner_than(&id("new"), &boot(&entries, Some("old"))), [&id("old")]);
        assert!(sooner_than(&id("new"), &boot(&entries, Some("new"))).is_empty());
    }

    #[test]
    fn if_nobody_tells_what_was_started_a_trial_is_taken_to_have_failed() {
        let entries = [("new", Some(2)), ("old", None), ("older", None)];
        assert_eq!(sooner_than(&id("new"), &boot(&entries, None)), [&id("old"), &id("older")]);
        assert!(sooner_than(&id("old"), &boot(&entries, None)).is_empty());
    }
}
