//! More than two deployments, pins, and cleaning up.

use anyhow::{Context as _, ensure};
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{
        entries_if_seen, next_image, nothing_changed, reboot_into, shows, stage, upgrade, with_way_back,
    },
};
use crate::suite::{Case, CaseResult, Demand, Property, Version, is_version, refused};

pub(super) const CASES: &[Case] = &[
    case!("deployments::what_nothing_needs_goes_after_a_good_boot", ["BW-105"], [], Running, old_ones_go),
    case!(
        "deployments::more_than_two_are_an_ordinary_state",
        ["BW-105", "BW-405"],
        [],
        Running,
        more_than_two
    ),
    case!("pin::a_pinned_deployment_stays_and_boots", ["BW-105"], [], Running, pinned_stays),
    case!("pin::what_is_no_longer_pinned_goes", ["BW-105"], [], Running, unpinned_goes),
    case!(
        "pin::an_unknown_deployment_is_refused",
        ["BW-006"],
        [Demand::Tier(Property::Fingerprints)],
        Running,
        unknown_is_refused
    ),
    case!("gc::keeps_what_runs_the_way_back_and_what_is_staged", ["BW-001", "BW-105"], [], Running, gc_keeps),
    case!(
        "gc::a_second_one_changes_nothing",
        ["BW-005", "BW-304"],
        [Demand::Tier(Property::Fingerprints)],
        Running,
        gc_again
    ),
];

/// Pins or unpins the deployment of a version.
async fn set_pinned(world: &mut dyn World, version: Version, pinned: bool) -> CaseResult {
    let status = world.status().await?;
    let id = status.of(version).with_context(|| format!("{version} is not there"))?.id.clone();
    world.set_pinned(&id, pinned).await?;
    let status = world.status().await?;
    shows(&status, status.of(version).is_some_and(|shown| shown.pinned == pinned), "the pin changed")
}

/// One entry for each of so many deployments, as far as this tier sees them.
async fn has_entries(world: &mut dyn World, deployments: usize) -> CaseResult {
    if let Some(entries) = entries_if_seen(world).await? {
        let found = entries.len();
        ensure!(found == deployments, "{deployments} deployments have {found} entries: {entries:?}");
    }
    Ok(())
}

async fn old_ones_go(world: &mut dyn World) -> CaseResult {
    let (first, second) = with_way_back(world).await?;
    let third = upgrade(world).await?.version;
    let status = world.status().await?;
    shows(&status, status.of(first).is_none(), "the oldest is gone")?;
    shows(&status, is_version(status.rollback.as_ref(), second), "the way back is there")?;
    shows(&status, is_version(status.booted.as_ref(), third), "the newest runs")?;
    has_entries(world, 2).await
}

async fn more_than_two(world: &mut dyn World) -> CaseResult {
    let first = upgrade(world).await?.version;
    set_pinned(world, first, true).await?;
    let second = upgrade(world).await?.version;
    set_pinned(world, second, true).await?;
    let third = upgrade(world).await?.version;
    let fourth = upgrade(world).await?.version;
    let status = world.status().await?;
    for version in [first, second, third, fourth] {
        shows(&status, status.of(version).is_some(), &format!("{version} is there"))?;
    }
    has_entries(world, 4).await?;
    set_pinned(world, first, false).await?;
    set_pinned(world, second, false).await?;
    world.gc().await?;
    let status = world.status().await?;
    shows(&status, status.versions().len() == 2, "two deployments are left")
}

async fn pinned_stays(world: &mut dyn World) -> CaseResult {
    let (pinned, _) = with_way_back(world).await?;
    set_pinned(world, pinned, true).await?;
    upgrade(world).await?;
    let last = upgrade(world).await?.version;
    world.gc().await?;
    let status = world.status().await?;
    shows(&status, status.of(pinned).is_some(), "the pinned deployment is there")?;
    reboot_into(world, last).await?;
    set_pinned(world, pinned, false).await
}

async fn unpinned_goes(world: &mut dyn World) -> CaseResult {
    let (first, _) = with_way_back(world).await?;
    set_pinned(world, first, true).await?;
    upgrade(world).await?;
    set_pinned(world, first, false).await?;
    world.gc().await?;
    let status = world.status().await?;
    shows(&status, status.of(first).is_none(), "the deployment is gone")
}

async fn unknown_is_refused(world: &mut dyn World) -> CaseResult {
    let before = world.fingerprint().await?;
    let refusal = refused(world.set_pinned("0123-no-such-deployment", true).await)?;
    nothing_changed(world, &before, &refusal, ErrorKind::NotFound).await
}

async fn gc_keeps(world: &mut dyn World) -> CaseResult {
    let (before, now) = with_way_back(world).await?;
    let image = next_image(world);
    stage(world, &image).await?;
    world.gc().await?;
    let status = world.status().await?;
    shows(&status, is_version(status.booted.as_ref(), now), "what runs is there")?;
    shows(&status, is_version(status.rollback.as_ref(), before), "the way back is there")?;
    shows(&status, is_version(status.staged.as_ref(), image.version), "what is staged is there")?;
    reboot_into(world, image.version).await.map(drop)
}

async fn gc_again(world: &mut dyn World) -> CaseResult {
    with_way_back(world).await?;
    world.gc().await?;
    let before = world.fingerprint().await?;
    world.gc().await?;
    before.unchanged(&world.fingerprint().await?, "a second gc")
}
