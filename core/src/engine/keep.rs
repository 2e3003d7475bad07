//! What may never be deleted: the one rule behind `retain` and `sweep`.

use std::collections::BTreeSet;

use super::Observed;
use crate::model::{DeploymentId, PublishedEntry};

impl Observed {
    /// Deployments that must stay: the running one, the default, the way back, pinned and staged ones, and whatever could
    /// start by a path that is not in the plan (invariant I1). On a disk that is not running, every published one.
    pub fn keep(&self) -> BTreeSet<DeploymentId> {
        if self.booted.is_none() {
            return self.boot.deployments().into_iter().chain(self.protected()).collect();
        }
        self.needed().into_iter().chain(self.ways_back().cloned()).collect()
    }

    /// Where a rollback leads to, and what is before it in the menu but for boot files that cannot be used now: they may be readable again, and can be
    /// repaired. What was tried in vain is no way back.
    fn ways_back(&self) -> impl Iterator<Item = &DeploymentId> {
        let target = self.rollback_target();
        let untried = |entry: &&PublishedEntry| {
            entry.tries_left != Some(0) && self.deployments.contains_key(&entry.deployment)
        };
        let before = self.boot.entries.iter().filter(untried).map(|entry| &entry.deployment);
        before.take_while(move |id| Some(*id) != target).chain(target)
    }

    /// The least that must stay when room is short: without the way back, unless that is what runs.
    pub fn needed(&self) -> BTreeSet<DeploymentId> {
        let mut needed = self.protected();
        needed.extend(self.booted.clone());
        needed.extend(self.default_deployment().cloned());
        needed
    }

    /// Whether somebody pinned it, here or in the store itself.
    pub(super) fn is_pinned(&self, id: &DeploymentId) -> bool {
        let by_us = self.records.get(id).is_some_and(|record| record.pinned);
        by_us || self.deployments.get(id).is_some_and(|deployment| deployment.pinned_by_store)
    }

    fn protected(&self) -> BTreeSet<DeploymentId> {
        let pinned = self.deployments.keys().filter(|id| self.is_pinned(id)).cloned();
        let staged = self.staged.iter().map(|staged| staged.deployment.clone());
        pinned.chain(staged).chain(self.boot.also_bootable.iter().cloned()).collect()
    }
}
