//! Reading the disk: everything a plan depends on, as plain data.

use std::collections::BTreeMap;

use super::{Abandoned, DeploymentRecord, Engine, StagedRecord};
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
}

impl Observed {
    /// The deployment that boots next time if nothing intervenes.
    pub fn default_deployment(&self) -> Option<&DeploymentId> {
        self.boot.default_entry().map(|entry| &entry.deployment)
    }

    /// Whether what runs now was not confirmed as good yet.
    pub fn on_trial(&self) -> bool {
        let entry = self.booted.as_ref().and_then(|booted| self.boot.entry_of(booted));
        entry.is_some_and(|entry| entry.tries_left.is_some())
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
            booted: parts.backend.booted(&parts.running_cmdline).await?,
            ..Observed::default()
        };
        for deployment in parts.backend.deployments().await? {
            let id = deployment.id.clone();
            observed.records.insert(id.clone(), parts.state.record(&id)?);
            observed.deployments.insert(id, deployment);
        }
        Ok(observed)
    }
}
