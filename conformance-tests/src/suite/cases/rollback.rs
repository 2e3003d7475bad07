//! Going back, and forward again.

use anyhow::ensure;

use super::{
    World, case,
    steps::{next_image, reboot_into, shows, stage, with_way_back},
};
use crate::suite::{Case, CaseResult, UpgradeMode, Upgraded, Version, is_version};

pub(super) const CASES: &[Case] = &[
    case!(
        "rollback::previous_deployment_becomes_default",
        ["BW-102", "BW-804"],
        [],
        Running,
        previous_deployment_becomes_default
    ),
    case!(
        "rollback::a_second_one_before_the_reboot_undoes_the_first",
        ["BW-103"],
        [],
        Running,
        a_second_one_undoes_the_first
    ),
    case!("rollback::leads_forward_again_after_the_reboot", ["BW-103"], [], Running, leads_forward_again),
    case!("rollback::an_upgrade_does_not_undo_it", ["BW-125"], [], Running, an_upgrade_does_not_undo_it),
    case!("rollback::is_undone_by_an_upgrade_on_demand", ["BW-125"], [], Running, undone_on_demand),
    case!("rollback::drops_a_staged_deployment", ["BW-104"], [], Running, drops_a_staged_deployment),
];

async fn previous_deployment_becomes_default(world: &mut dyn World) -> CaseResult {
    let (before, now) = with_way_back(world).await?;
    roll_back_to(world, before, now).await
}

/// From what runs now to what ran before.
pub(super) async fn roll_back_to(world: &mut dyn World, before: Version, now: Version) -> CaseResult {
    world.rollback().await?;
    let status = world.status().await?;
    shows(&status, status.rollback_queued, "a rollback is queued")?;
    shows(&status, is_version(status.booted.as_ref(), now), "the same version still runs")?;
    reboot_into(world, before).await?;
    let status = world.status().await?;
    shows(&status, is_version(status.rollback.as_ref(), now), "what ran before is the way back")
}

async fn a_second_one_undoes_the_first(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    world.rollback().await?;
    world.rollback().await?;
    let status = world.status().await?;
    shows(&status, !status.rollback_queued, "no rollback is queued")?;
    reboot_into(world, now).await.map(drop)
}

async fn leads_forward_again(world: &mut dyn World) -> CaseResult {
    let (before, now) = with_way_back(world).await?;
    for expected in [before, now, before] {
        world.rollback().await?;
        reboot_into(world, expected).await?;
    }
    Ok(())
}

/// Rolls back and reboots; returns what was left.
async fn roll_back(world: &mut dyn World) -> anyhow::Result<Version> {
    let (before, now) = with_way_back(world).await?;
    world.rollback().await?;
    reboot_into(world, before).await?;
    let status = world.status().await?;
    shows(&status, status.left(now) == Some("was rolled back"), "the newer one was rolled back")?;
    Ok(now)
}

async fn an_upgrade_does_not_undo_it(world: &mut dyn World) -> CaseResult {
    let left = roll_back(world).await?;
    let before = world.running().await?.version;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::Abandoned, "an upgrade to what was rolled back ended as {outcome:?}");
    reboot_into(world, before).await?;
    world.rollback().await?;
    reboot_into(world, left).await?;
    let status = world.status().await?;
    shows(&status, status.abandoned.is_empty(), "nothing is left, forward again")?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::UpToDate, "forward again, an upgrade ended as {outcome:?}");
    Ok(())
}

async fn undone_on_demand(world: &mut dyn World) -> CaseResult {
    let left = roll_back(world).await?;
    let outcome = world.upgrade(UpgradeMode::Retry).await?;
    ensure!(outcome == Upgraded::Staged, "asked for again, the upgrade ended as {outcome:?}");
    reboot_into(world, left).await?;
    let status = world.status().await?;
    shows(&status, status.abandoned.is_empty(), "nothing is left")
}

async fn drops_a_staged_deployment(world: &mut dyn World) -> CaseResult {
    let (before, _) = with_way_back(world).await?;
    let third = next_image(world);
    stage(world, &third).await?;
    world.rollback().await?;
    let status = world.status().await?;
    shows(&status, status.staged.is_none(), "nothing is staged")?;
    reboot_into(world, before).await?;
    ensure!(world.running().await?.version != third.version, "the dropped deployment runs");
    Ok(())
}
