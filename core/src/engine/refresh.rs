//! Entries whose root arguments moved away under them.
//!
//! Where root arguments are not predictable, finalising one deployment may change those of all others; the old ones lead somewhere until
//! the backend's next `retain` or `finalize`. An operation that stops between its `finalize` and its commit leaves entries that name the
//! old ones, so they are published anew, in the order that they have, before either is called again.

use super::{Engine, Observed, Operation, Target, execute::Run};
use crate::error::Result;

impl Engine {
    /// Publishes what is published again if its root arguments moved. What boots stays the same.
    ///
    /// A crash in here leaves a state from which it can run again.
    pub(super) async fn refresh(&self) -> Result<()> {
        if self.parts.backend.capabilities().predictable_root_args {
            return Ok(());
        }
        let observed = self.observe().await?;
        if !self.moved(&observed).await? {
            return Ok(());
        }
        tracing::info!("an earlier command moved the root arguments; publishing the boot entries again");
        let known = observed.order().into_iter().filter(|id| observed.deployments.contains_key(id));
        let order: Vec<_> = known.map(Target::Known).collect();
        Run::new(self, &Operation::Gc, None).publish(&order).await
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
