//! Commands on an installed system: upgrade, switch, rollback, pin, gc, fsck.

use bootwright_core::{
    Result,
    engine::{UpdateMode, UpdateOutcome, UpdateRequest},
    model::{DeploymentId, ImageSummary},
};

use super::{Context, block_on, print, reboot, system};
use crate::{
    args::{RollbackOptions, SwitchOptions, UpgradeOptions},
    disk::ByteSize,
    machine::Access,
};

/// `upgrade`
pub fn upgrade(context: &Context<'_>, options: &UpgradeOptions) -> Result<()> {
    let mode = match (options.check, options.download_only) {
        (true, _) => UpdateMode::Check,
        (false, true) => UpdateMode::DownloadOnly,
        (false, false) => UpdateMode::Stage,
    };
    update(context, &UpdateRequest { image: None, mode, retry: options.retry }, options.apply)
}

/// `switch`
pub fn switch(context: &Context<'_>, options: &SwitchOptions) -> Result<()> {
    let request = UpdateRequest { image: Some(options.image.clone()), mode: UpdateMode::Stage, retry: false };
    update(context, &request, options.apply)
}

fn update(context: &Context<'_>, request: &UpdateRequest, apply: bool) -> Result<()> {
    let access = if request.mode == UpdateMode::Check { Access::Read } else { Access::Write };
    let outcome = {
        let system = system::require(context, access)?;
        block_on(system.engine.update(request))?
    };
    print(&describe(&outcome, context.settings.name));
    if apply && matches!(outcome, UpdateOutcome::Staged { hold: false, .. }) {
        return reboot();
    }
    Ok(())
}

fn describe(outcome: &UpdateOutcome, program: &str) -> String {
    match outcome {
        UpdateOutcome::UpToDate(image) => format!("No change: {} is current.", named(image)),
        UpdateOutcome::Abandoned(image, left) => format!(
            "Not staged: {} {} on this machine ({})\n  another image is staged as usual; `{program} upgrade --retry` tries this one again",
            named(image),
            left.reason,
            left.when,
        ),
        UpdateOutcome::Available(image, cost) => format!(
            "Available: {}\n  to fetch: {} in {} of {} layers",
            named(image),
            ByteSize(cost.download),
            cost.layers_missing,
            cost.layers,
        ),
        UpdateOutcome::Staged { image, hold: false, .. } => {
            format!("Staged: {}\n  boots after the next shutdown", named(image))
        }
        UpdateOutcome::Staged { image, hold: true, .. } => {
            format!("Downloaded: {}\n  `{program} upgrade` makes it boot", named(image))
        }
    }
}

fn named(image: &ImageSummary) -> String {
    let version = image.version.as_ref().map(|version| format!(" version {version}")).unwrap_or_default();
    format!("{}{version} ({})", image.reference, image.manifest_digest.short())
}

/// `rollback`
pub fn rollback(context: &Context<'_>, options: &RollbackOptions) -> Result<()> {
    let default = {
        let system = system::require(context, Access::Write)?;
        block_on(system.engine.rollback())?
    };
    print(&format!("Deployment {default} boots next."));
    if options.apply { reboot() } else { Ok(()) }
}

/// `pin` and `unpin`
pub fn pin(context: &Context<'_>, deployment: &DeploymentId, pinned: bool) -> Result<()> {
    let system = system::require(context, Access::Write)?;
    block_on(system.engine.set_pinned(deployment, pinned))
}

/// `gc`
pub fn gc(context: &Context<'_>) -> Result<()> {
    let system = system::require(context, Access::Write)?;
    let removed = block_on(system.engine.gc())?;
    if removed.items.is_empty() {
        print("Nothing to remove.");
        return Ok(());
    }
    print(&format!("Removed, {} in all:\n  {}", ByteSize(removed.bytes), removed.items.join("\n  ")));
    Ok(())
}

/// `fsck`: `false` if something is wrong.
pub fn fsck(context: &Context<'_>) -> Result<bool> {
    let system = system::require(context, Access::Read)?;
    let report = block_on(system.engine.fsck())?;
    for problem in &report.problems {
        let needed: Vec<_> = problem.deployments.iter().map(DeploymentId::as_str).collect();
        let needed =
            if needed.is_empty() { String::new() } else { format!(" (needed by {})", needed.join(", ")) };
        print(&format!("{}: {}{needed}", problem.path, problem.problem));
    }
    print(&format!("{} objects checked, {} problems", report.checked, report.problems.len()));
    Ok(report.problems.is_empty())
}
