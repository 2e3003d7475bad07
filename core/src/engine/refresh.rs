//! Entries whose root arguments moved away under them.
//!
//! Where root arguments are not predictable, finalising one deployment may change those of all others; the old ones lead somewhere until
//! the backend's next `retain` or `finalize`. So no entry that may boot names old ones when either of the two is called: they are published anew, in
//! the order that they have. Entries fall behind in two ways. An operation stops between its `finalize` and its commit; or a new deployment is on trial
//! with a bootloader that goes on booting the old entries until the trial has proved good.

use super::{Engine, Observed, Operation, Target, execute::Run};
use crate::{error::Result, model::DeploymentId};

impl Engine {
    /// Whether every entry names the root arguments that the backend gives now.
    pub(super) async fn is_settled(&self) -> Result<bool> {
        if self.parts.backend.capabilities().predictable_root_args {
            return Ok(true);
        }
        Ok(!self.moved(&self.observe().await?).await?)
    }

    /// Publishes what is published again if its root arguments moved. What boots stays the same. Leaves all as it is while a deployment is on
    /// trial, or waits for it: that would end the trial. Returns whether it published.
    ///
    /// A crash in here leaves a state from which it can run again.
    pub(super) async fn refresh(&self) -> Result<bool> {
        if self.is_settled().await? {
            return Ok(false);
        }
        let observed = self.observe().await?;
        if observed.trial_is_open() {
            return Ok(false);
        }
        self.publish_again(&observed).await
    }

    /// The same before a finalisation, which cannot wait for a trial: another deployment takes its turn. Until that is published, the last
    /// good one boots.
    pub(super) async fn refresh_for_the_next(&self) -> Result<()> {
        if !self.is_settled().await? {
            self.publish_again(&self.observe().await?).await?;
        }
        Ok(())
    }

    async fn publish_again(&self, observed: &Observed) -> Result<bool> {
        tracing::info!("an earlier command moved the root arguments; publishing the boot entries again");
        let order: Vec<_> = observed.settled_order().into_iter().map(Target::Known).collect();
        Run::new(self, &Operation::Gc, None).publish(&order).await?;
        Ok(true)
    }

    async fn moved(&self, observed: &Observed) -> Result<bool> {
        for entry in &observed.boot.entries {
            if !observed.deployments.contains_key(&entry.deployment) || entry.problem.is_some() {
                continue;
            }
            let now = self.parts.backend.boot_artifacts(&entry.deployment).await?.root_args;
            if entry.cmdline.as_ref().is_some_and(|line| !line.contains_all(&now)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Observed {
    /// Whether a deployment is being tried now, or will be.
    fn trial_is_open(&self) -> bool {
        let runs = |id: &DeploymentId| self.booted.as_ref() == Some(id);
        let mut entries = self.boot.entries.iter();
        entries.any(|entry| entry.tries_left.is_some_and(|left| left > 0 || runs(&entry.deployment)))
    }

    /// What has proved good, in the order that it has. Whatever is on trial stays out, or it would be taken for good; all, where nothing is good.
    fn settled_order(&self) -> Vec<DeploymentId> {
        let known = |id: &DeploymentId| self.deployments.contains_key(id);
        let tried =
            |id: &DeploymentId| self.boot.entry_of(id).is_some_and(|entry| entry.tries_left.is_some());
        let all: Vec<_> = self.order().into_iter().filter(known).collect();
        let good: Vec<_> = all.iter().filter(|id| !tried(id)).cloned().collect();
        if good.is_empty() { all } else { good }
    }
}
