//! From an operation to ordered steps: pure, so that properties can be tested over every state.

use std::collections::BTreeSet;

use super::Observed;
use crate::{
    error::{Error, Result},
    model::DeploymentId,
};

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// The first deployment on an empty disk.
    Install,
    /// Another image, or a newer version: made ready now, booted after the next shutdown.
    Update {
        /// Only download; do not finalise at shutdown until asked again.
        hold: bool,
    },
    /// At shutdown: the staged deployment becomes the default.
    Finalize,
    /// After a good boot: stop counting.
    Confirm,
    /// After a good boot was confirmed: update the loader, delete what nothing needs.
    CleanUp,
    /// Back to the previous deployment, or forward again.
    Rollback,
    /// Delete what nothing needs.
    Gc,
}

impl Operation {
    /// The word for journals and messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Update { .. } => "upgrade",
            Self::Finalize => "finalize",
            Self::Confirm => "confirm",
            Self::CleanUp => "clean-up",
            Self::Rollback => "rollback",
            Self::Gc => "gc",
        }
    }

    /// Whether it may use what is set aside: it gives room back, or leads a machine to what works, and must not fail because a disk is full.
    pub(super) const fn uses_reserve(&self) -> bool {
        matches!(self, Self::Confirm | Self::CleanUp | Self::Rollback | Self::Gc)
    }
}

/// A deployment in a plan: one that exists, or the one that an earlier step makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Made by [`Step::Prepare`].
    Prepared,
    /// Exists.
    Known(DeploymentId),
}

/// One repeatable step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the store.
    Initialize,
    /// Bring the image into the store.
    Fetch,
    /// Materialise the deployment, and check that this bootloader can start it.
    Prepare,
    /// Record it as staged.
    Stage {
        /// Only download.
        hold: bool,
    },
    /// Remember that somebody rolls back from it.
    Abandon(DeploymentId),
    /// Forget the staged deployment.
    DropStaged,
    /// Publish entries again whose root arguments moved, whatever is on trial.
    Refresh,
    /// Put its `/etc` in place.
    Finalize(Target),
    /// Install loader binaries from its tree.
    InstallLoader(Target),
    /// Update loader binaries from its tree, if it has any: what is installed already boots it.
    UpdateLoader(Target),
    /// Compatible, stage, commit: the switch. In order of preference.
    Publish(Vec<Target>),
    /// This boot was good.
    Confirm(DeploymentId),
    /// A boot of the default was good: forget what was left before it was made.
    Prove(DeploymentId),
    /// Publish entries again whose root arguments moved, and delete those of the old ones, unless a trial is under way.
    Settle(BTreeSet<DeploymentId>),
    /// Delete this deployment, which was never published, unless it is what was prepared.
    Discard(DeploymentId),
    /// Delete deployments that are not in this set.
    Retain(BTreeSet<DeploymentId>),
    /// Delete boot entries and files that are not for this set.
    Sweep(BTreeSet<DeploymentId>),
}

/// The steps that lead from `observed` to what `operation` wants. Empty if there is nothing to do.
///
/// # Errors
/// `NotFound` if there is nothing to roll back to; `InvalidInput` if an install finds a system.
pub fn plan(operation: &Operation, observed: &Observed) -> Result<Vec<Step>> {
    match operation {
        Operation::Install => install(observed),
        Operation::Update { hold } => Ok(update(*hold, observed)),
        Operation::Finalize => Ok(finalize(observed)),
        Operation::Confirm => Ok(observed.booted.iter().cloned().map(Step::Confirm).collect()),
        Operation::CleanUp => Ok(after_good_boot(observed)),
        Operation::Rollback => rollback(observed),
        Operation::Gc => Ok(clean_up(observed)),
    }
}

fn install(observed: &Observed) -> Result<Vec<Step>> {
    if !observed.boot.entries.is_empty() || observed.booted.is_some() {
        return Err(Error::invalid("this disk has a system already")
            .with_hint("use `switch` to change its image, or install to an empty disk"));
    }
    Ok(vec![
        Step::Initialize,
        Step::Fetch,
        Step::Prepare,
        Step::Finalize(Target::Prepared),
        Step::InstallLoader(Target::Prepared),
        Step::Publish(vec![Target::Prepared]),
    ])
}

fn update(hold: bool, observed: &Observed) -> Vec<Step> {
    let superseded = observed.staged.as_ref().map(|staged| &staged.deployment);
    // Pinned, or published in an earlier life: somebody may want it.
    let wanted = |id: &&DeploymentId| {
        observed.is_pinned(id)
            || observed.booted.as_ref() == Some(*id)
            || observed.boot.deployments().contains(*id)
    };
    let dropped = superseded.filter(|id| !wanted(id)).cloned();
    let steps = vec![Step::Fetch, Step::Prepare, Step::Stage { hold }];
    steps.into_iter().chain(dropped.map(Step::Discard)).collect()
}

fn finalize(observed: &Observed) -> Vec<Step> {
    let Some(staged) = observed.staged.as_ref().filter(|staged| !staged.hold) else { return Vec::new() };
    if !observed.deployments.contains_key(&staged.deployment) {
        return vec![Step::DropStaged];
    }
    let way_back = observed.booted.as_ref();
    let first: Vec<_> = std::iter::once(&staged.deployment).chain(way_back).collect();
    vec![
        // No entry may need what a finalisation writes over.
        Step::Refresh,
        Step::Finalize(Target::Known(staged.deployment.clone())),
        publish(observed.order_with(&first)),
        Step::DropStaged,
    ]
}

fn after_good_boot(observed: &Observed) -> Vec<Step> {
    let Some(booted) = &observed.booted else { return Vec::new() };
    // Somebody chose another entry in the menu, or a trial has not had its turn: everything stays.
    if observed.default_deployment() != Some(booted) {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if observed.proves_something(booted) {
        steps.push(Step::Prove(booted.clone()));
    }
    steps.extend(clean_up(observed));
    steps.push(Step::UpdateLoader(Target::Known(booted.clone())));
    steps
}

fn rollback(observed: &Observed) -> Result<Vec<Step>> {
    let target = observed.rollback_target().ok_or_else(|| {
        Error::not_found("there is no other deployment to roll back to")
            .with_hint("`bootwright status` lists what is installed; `switch` brings another image")
    })?;
    let first: Vec<_> = std::iter::once(target).chain(&observed.booted).collect();
    let mut steps = Vec::new();
    if observed.staged.is_some() {
        steps.push(Step::DropStaged);
    }
    steps.extend(observed.left_by_rollback(target).map(Step::Abandon));
    steps.push(publish(observed.order_with(&first)));
    Ok(steps)
}

fn clean_up(observed: &Observed) -> Vec<Step> {
    let keep = observed.keep();
    // Entries before trees: at no moment may an entry point to a tree that is gone (invariant I4).
    if keep.is_empty() {
        return Vec::new();
    }
    vec![Step::Sweep(keep.clone()), Step::Settle(keep.clone()), Step::Retain(keep)]
}

fn publish(order: Vec<DeploymentId>) -> Step {
    Step::Publish(order.into_iter().map(Target::Known).collect())
}
