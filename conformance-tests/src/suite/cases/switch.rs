//! Another image to follow.

use anyhow::ensure;

use super::{
    World, case,
    steps::{next_image, reboot_into, shows},
};
use crate::suite::{Case, CaseResult, Channel, UpgradeMode, Upgraded, is_version};

pub(super) const CASES: &[Case] = &[
    case!("switch::upgrades_follow_the_new_origin", ["BW-109"], [], Running, follows),
    case!(
        "switch::a_rollback_follows_the_old_origin_again",
        ["BW-109"],
        [],
        Running,
        rollback_follows_the_old
    ),
];

/// Publishes the next version on a channel and returns it.
async fn publish(world: &mut dyn World, channel: Channel) -> anyhow::Result<crate::suite::Version> {
    let image = next_image(world);
    world.publish(channel, &image).await?;
    Ok(image.version)
}

/// Switches to a channel and boots what it names.
async fn switch_to(world: &mut dyn World, channel: Channel) -> CaseResult {
    let version = publish(world, channel).await?;
    let outcome = world.switch(channel, UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::Staged, "a switch ended as {outcome:?}");
    let status = world.status().await?;
    shows(&status, is_version(status.staged.as_ref(), version), "the other image is staged")?;
    reboot_into(world, version).await.map(drop)
}

async fn follows(world: &mut dyn World) -> CaseResult {
    switch_to(world, Channel::OTHER).await?;
    let ignored = publish(world, Channel::MAIN).await?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::UpToDate, "{ignored} of the old origin was looked at: {outcome:?}");
    let next = publish(world, Channel::OTHER).await?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::Staged, "the new origin has a new image, but: {outcome:?}");
    reboot_into(world, next).await?;
    switch_to(world, Channel::MAIN).await
}

async fn rollback_follows_the_old(world: &mut dyn World) -> CaseResult {
    let before = world.running().await?.version;
    switch_to(world, Channel::OTHER).await?;
    world.rollback().await?;
    reboot_into(world, before).await?;
    let next = publish(world, Channel::MAIN).await?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::Staged, "the old origin has a new image, but: {outcome:?}");
    reboot_into(world, next).await.map(drop)
}
