//! Recovery: runs first in every command that changes anything.
//!
//! Before the commit, what an interrupted operation did is invisible: its half-copied boot files go, its downloads stay for
//! the next try. After the commit, the operation is carried to its end.

use super::{Engine, Intent, Operation};
use crate::error::Result;

impl Engine {
    /// Brings an interrupted operation to rest and returns what it was, if there was one.
    ///
    /// A crash in here leaves a state from which it can run again with the same result (invariant I5).
    pub async fn recover(&self) -> Result<Option<Intent>> {
        let state = &self.parts.state;
        state.remove_temporaries()?;
        self.parts.loader.remove_unfinished().await?;
        let Some(intent) = state.journal()? else { return Ok(None) };
        tracing::info!(operation = intent.operation, "an earlier command was interrupted; recovering");
        if self.was_committed(&intent).await? {
            self.tell_backend(&intent).await?;
            self.drop_staged_if_published(&intent)?;
        }
        // The sweep takes away what shows that a trial was lost.
        self.record_lost_trials(&self.observe().await?)?;
        self.refresh().await?;
        let keep = self.observe().await?.keep();
        if !keep.is_empty() {
            self.parts.loader.sweep(&keep).await?;
        }
        state.set_journal(None)?;
        Ok(Some(intent))
    }

    async fn was_committed(&self, intent: &Intent) -> Result<bool> {
        let Some(publication) = &intent.publication else { return Ok(false) };
        let boot = self.parts.loader.read().await?;
        // Not whether it is the default: a new deployment may be on trial, or have failed it already.
        Ok(boot.generation >= publication.generation && boot.entry_of(&publication.default).is_some())
    }

    /// A rollback says nothing about the arguments that the backend gave last.
    async fn tell_backend(&self, intent: &Intent) -> Result<()> {
        if intent.operation == Operation::Rollback.name() {
            return Ok(());
        }
        self.parts.backend.published().await
    }

    fn drop_staged_if_published(&self, intent: &Intent) -> Result<()> {
        let staged = self.parts.state.staged()?.map(|staged| staged.deployment);
        let published = intent.publication.as_ref().map(|publication| &publication.default);
        if staged.is_some() && staged.as_ref() == published {
            self.parts.state.set_staged(None)?;
        }
        Ok(())
    }
}
