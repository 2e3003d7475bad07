//! Images that are broken in different ways: the machine leaves each of them by itself.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    steps::{next_image, shows, stage},
    trial::ALL_TRIES,
};
use crate::suite::{Case, CaseResult, Demand, Health, Property, is_version};

const KINDS: [Demand; 2] = [Demand::Loader("boot_counting"), Demand::Tier(Property::FailureKinds)];

pub(super) const CASES: &[Case] = &[
    case!(
        "broken::an_initramfs_that_cannot_mount_the_root_is_left",
        ["BW-112", "BW-123"],
        KINDS,
        Running,
        no_root
    ),
    case!(
        "broken::a_system_that_ends_in_its_emergency_mode_is_left",
        ["BW-123", "BW-127", "BW-134"],
        KINDS,
        Running,
        emergency
    ),
    case!(
        "broken::a_system_that_hangs_early_is_left",
        ["BW-123", "BW-127", "BW-134"],
        KINDS,
        Running,
        hangs_early
    ),
    case!(
        "broken::a_failing_health_check_is_left",
        ["BW-123", "BW-127", "BW-134"],
        KINDS,
        Running,
        check_fails
    ),
    case!(
        "broken::a_health_check_that_hangs_is_left",
        ["BW-123", "BW-127", "BW-134"],
        KINDS,
        Running,
        check_hangs
    ),
    case!("broken::a_system_that_freezes_is_left", ["BW-112", "BW-123"], KINDS, Running, freezes),
    case!("broken::a_kernel_that_panics_is_left", ["BW-112", "BW-123", "BW-132"], KINDS, Running, panics),
];

/// Upgrades to an image that is broken in this way; the last good one must come back, and say so.
async fn left(world: &mut dyn World, health: Health) -> CaseResult {
    left_because(world, health, "").await
}

/// The same, and the reason names the unit that is to blame.
async fn left_because(world: &mut dyn World, health: Health, blamed: &str) -> CaseResult {
    let good = world.running().await?.version;
    let bad = next_image(world).health(health);
    stage(world, &bad).await?;
    let running = world.reboot().await.context("fall back")?;
    ensure!(running.version == good, "{} runs after a failed trial, {good} should", running.version);
    let status = world.status().await?;
    shows(&status, status.of(bad.version).is_none(), "what failed is gone after the clean-up")?;
    shows(&status, is_version(status.booted.as_ref(), good), "the last good one runs")?;
    let reason = status.left(bad.version).unwrap_or_default();
    shows(&status, reason.contains(ALL_TRIES), "the failed image is named with the reason")?;
    shows(&status, reason.contains(blamed), &format!("the reason names {blamed:?}"))
}

async fn no_root(world: &mut dyn World) -> CaseResult {
    left(world, Health::NoRoot).await
}

async fn emergency(world: &mut dyn World) -> CaseResult {
    left_because(world, Health::Emergency, Health::MOUNT).await
}

async fn hangs_early(world: &mut dyn World) -> CaseResult {
    left_because(world, Health::HangsEarly, Health::UNIT).await
}

async fn check_fails(world: &mut dyn World) -> CaseResult {
    left_because(world, Health::CheckFails, Health::UNIT).await
}

async fn check_hangs(world: &mut dyn World) -> CaseResult {
    left_because(world, Health::CheckHangs, Health::UNIT).await
}

async fn freezes(world: &mut dyn World) -> CaseResult {
    left(world, Health::Freezes).await
}

async fn panics(world: &mut dyn World) -> CaseResult {
    left(world, Health::Panics).await
}
