//! Images that this machine left again: a new one that lost its trial, or one that somebody rolled back from.
//!
//! The machine goes back to the last good deployment by itself, and the clean-up after that takes away what failed. What is remembered here keeps
//! the next `upgrade` from bringing the very same image back. It is written before the clean-up, so that no crash can lose it, and it goes
//! when a deployment that was made later proves good: by then the origin has moved on.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{Engine, Failure, Observed};
use crate::{
    error::Result,
    model::{DeploymentId, Digest, PublishedEntry},
};

/// How many are remembered; the oldest goes first.
const LIMIT: usize = 8;

/// An image that ran here, or was to run, and was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abandoned {
    /// The deployment, which may be gone by now.
    pub deployment: DeploymentId,
    /// Digest of the image's manifest: an `upgrade` does not stage this one again unless it is asked to.
    pub image_digest: Digest,
    /// Version of the image, if it has one.
    pub version: Option<String>,
    /// When that was noticed, RFC 3339 in UTC, by the machine's clock.
    pub when: String,
    /// [`super::DeploymentRecord::sequence`] of the deployment.
    #[serde(default)]
    pub sequence: u64,
    /// Why.
    pub reason: AbandonReason,
}

/// Why an image was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum AbandonReason {
    /// No boot of it was confirmed as good.
    FailedTrial {
        /// How often it was started, if the bootloader counts that.
        tries: Option<u32>,
        /// What its boots could tell of it, if any could; the last one counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// Somebody rolled back from it.
    RolledBack,
}

/// What comes after "it": "did not reach boot-complete.target in 3 tries: suite-check.service failed".
impl fmt::Display for AbandonReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::FailedTrial { tries, failure } = self else { return f.write_str("was rolled back") };
        f.write_str("did not reach boot-complete.target")?;
        match tries {
            Some(1) => f.write_str(" in 1 try")?,
            Some(tries) => write!(f, " in {tries} tries")?,
            None => {}
        }
        failure.iter().try_for_each(|failure| write!(f, ": {failure}"))
    }
}

impl Observed {
    /// What was left, as recorded and as the boot entries show it, oldest first. What is the default again counts no more.
    pub fn abandoned(&self) -> Vec<Abandoned> {
        let mut all = self.recorded.clone();
        all.extend(self.lost_trials());
        let default = self.default_deployment().and_then(|id| self.deployments.get(id));
        all.retain(|one| default.is_none_or(|default| default.image.manifest_digest != one.image_digest));
        all
    }

    /// The record of an image, if this machine left it.
    pub fn abandoned_image(&self, digest: &Digest) -> Option<Abandoned> {
        self.abandoned().into_iter().rev().find(|one| &one.image_digest == digest)
    }

    /// Whether there is a record of an image, or will be when what the entries show is recorded.
    pub(super) fn has_left(&self, digest: &Digest) -> bool {
        self.is_recorded(digest) || self.lost_trials().iter().any(|one| &one.image_digest == digest)
    }

    /// Deployments whose tries are used up although something else runs, and of which there is no record yet. One that is staged is to be
    /// tried once more.
    pub(super) fn lost_trials(&self) -> Vec<Abandoned> {
        let Some(booted) = &self.booted else { return Vec::new() };
        let staged = self.staged.as_ref().map(|staged| &staged.deployment);
        let lost = self.boot.entries.iter().filter(|entry| {
            entry.tries_left == Some(0) && &entry.deployment != booted && Some(&entry.deployment) != staged
        });
        let reason = |entry: &PublishedEntry| AbandonReason::FailedTrial {
            tries: entry.tries_done,
            failure: self.failure_of(&entry.deployment),
        };
        let found = lost.filter_map(|entry| self.abandon(&entry.deployment, reason(entry)));
        found.filter(|one| !self.is_recorded(&one.image_digest)).collect()
    }

    /// What a rollback to `target` leaves: what boots until then. Nothing if it leads forward again, to what was left before.
    pub(super) fn left_by_rollback(&self, target: &DeploymentId) -> Option<DeploymentId> {
        let other = |id: &&DeploymentId| *id != target;
        let forward = self.deployments.get(target).map(|to| self.is_recorded(&to.image.manifest_digest));
        let left = self.default_deployment().filter(other).or(self.booted.as_ref().filter(other));
        left.filter(|_| forward != Some(true)).cloned()
    }

    /// A record of a deployment; `None` if nothing is known of its image.
    fn abandon(&self, id: &DeploymentId, reason: AbandonReason) -> Option<Abandoned> {
        let image = &self.deployments.get(id)?.image;
        Some(Abandoned {
            deployment: id.clone(),
            image_digest: image.manifest_digest.clone(),
            version: image.version.clone(),
            when: now(),
            sequence: self.records.get(id).map_or(0, |record| record.sequence),
            reason,
        })
    }

    fn is_recorded(&self, digest: &Digest) -> bool {
        self.recorded.iter().any(|one| &one.image_digest == digest)
    }

    /// Whether a good boot of `id` as the default makes a record superfluous.
    fn settles(&self, id: &DeploymentId, one: &Abandoned) -> bool {
        let newer = self.records.get(id).is_some_and(|record| record.sequence > one.sequence);
        let own = self.deployments.get(id).is_some_and(|own| own.image.manifest_digest == one.image_digest);
        newer || own
    }

    /// Whether a good boot of `id` as the default changes what is remembered ([`super::Step::Prove`]).
    pub(super) fn proves_something(&self, id: &DeploymentId) -> bool {
        self.recorded.iter().any(|one| self.settles(id, one))
    }

    /// For the next deployment that is made.
    pub(super) fn next_sequence(&self) -> u64 {
        let made = self.records.values().map(|record| record.sequence);
        made.chain(self.recorded.iter().map(|one| one.sequence)).max().unwrap_or(0).saturating_add(1)
    }
}

impl Engine {
    /// Records trials that were lost, before anything that they left is cleaned up, and removes the note that is part of the record then.
    ///
    /// A crash leaves the old records, and the boot entries and the note show the same again; or the new ones, with or without the note.
    pub(super) fn record_lost_trials(&self, observed: &Observed) -> Result<()> {
        let lost = observed.lost_trials();
        for one in &lost {
            tracing::warn!("the deployment {} was left: it {}", one.deployment, one.reason);
        }
        if !lost.is_empty() {
            self.record_abandoned(&observed.recorded, lost)?;
        }
        self.forget_failure(observed)
    }

    /// Records that somebody rolls back from a deployment. Before the rollback is published: while what is left is the default, the
    /// record does not count.
    pub(super) async fn record_rollback(&self, left: &DeploymentId) -> Result<()> {
        let observed = self.observe().await?;
        let found = observed.abandon(left, AbandonReason::RolledBack);
        let known = |one: &Abandoned| observed.is_recorded(&one.image_digest);
        match found.filter(|one| !known(one)) {
            Some(one) => self.record_abandoned(&observed.recorded, vec![one]),
            None => Ok(()),
        }
    }

    fn record_abandoned(&self, recorded: &[Abandoned], new: Vec<Abandoned>) -> Result<()> {
        let mut all = recorded.to_vec();
        all.extend(new);
        self.parts.state.set_abandoned(all.get(all.len().saturating_sub(LIMIT)..).unwrap_or_default())
    }

    /// A boot of the default was good: what was left before it was made is history, and so is its own record.
    ///
    /// A crash leaves the old records or the new ones.
    pub(super) async fn prove(&self, id: &DeploymentId) -> Result<()> {
        let observed = self.observe().await?;
        let (settled, open): (Vec<_>, Vec<_>) =
            observed.recorded.iter().cloned().partition(|one| observed.settles(id, one));
        if settled.is_empty() { Ok(()) } else { self.parts.state.set_abandoned(&open) }
    }

    /// Somebody asked for this image again.
    pub(super) fn forget_abandoned(&self, digest: &Digest) -> Result<()> {
        let mut all = self.parts.state.abandoned()?;
        let before = all.len();
        all.retain(|one| &one.image_digest != digest);
        if all.len() == before { Ok(()) } else { self.parts.state.set_abandoned(&all) }
    }
}

fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(now.as_secs())
}

/// Seconds since 1970, as a date and time in UTC. Civil calendar by Howard Hinnant's `civil_from_days`, years from March.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", era * 400 + year + turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_printed_as_dates_of_the_civil_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    /// spec: BW-134
    #[test]
    fn a_record_of_an_older_version_says_no_more_than_it_knows() {
        let old: AbandonReason = serde_json::from_str(r#"{"kind":"failedTrial","tries":3}"#).unwrap();
        assert_eq!(old.to_string(), "did not reach boot-complete.target in 3 tries");
        let written = serde_json::to_string(&old).unwrap();
        assert_eq!(written, r#"{"kind":"failedTrial","tries":3}"#, "an older version reads it");
    }
}
