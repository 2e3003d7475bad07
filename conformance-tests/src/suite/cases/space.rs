//! Little room for boot files.

use anyhow::ensure;
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{install, next_image, nothing_changed, reboot_into, shows, stage, upgrade, with_way_back},
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, InstallOptions, Property, TestImage, Trouble, UpgradeMode, Upgraded,
    is_version, refused,
};

const LITTLE_ROOM: Demand = Demand::Tier(Property::LittleRoom);

pub(super) const CASES: &[Case] = &[
    case!(
        "space::the_way_back_gives_way",
        ["BW-113", "BW-404"],
        [LITTLE_ROOM, Demand::Tier(Property::CrashPoints)],
        Own,
        way_back_gives_way
    ),
    case!(
        "space::too_little_is_refused_with_the_numbers",
        ["BW-114", "BW-404"],
        [LITTLE_ROOM, Demand::Tier(Property::Fingerprints)],
        Blank,
        refused_with_numbers
    ),
    case!(
        "space::nothing_gives_way_where_that_would_not_help",
        ["BW-113", "BW-114"],
        [LITTLE_ROOM, Demand::Tier(Property::Fingerprints)],
        Own,
        nothing_given_up_in_vain
    ),
];

async fn way_back_gives_way(world: &mut dyn World) -> CaseResult {
    let other_kernel = next_image(world).large_kernel("of the way back");
    super::steps::upgrade_to(world, &other_kernel).await?;
    let (before, now) = with_way_back(world).await?;
    let image = next_image(world).large_kernel("that needs room");
    stage_in_little_room(world, &image).await?;
    reboot_into(world, image.version).await?;
    let status = world.status().await?;
    shows(&status, status.of(before).is_none(), "the old way back is gone")?;
    shows(&status, is_version(status.rollback.as_ref(), now), "what ran before is the way back")?;
    world.leave_room_for(None).await?;
    upgrade(world).await.map(drop)
}

/// The way back has the kernel of what runs: without it there is as little room as with it. Where it has one of its own, giving way does help.
async fn nothing_given_up_in_vain(world: &mut dyn World) -> CaseResult {
    let (before, _) = with_way_back(world).await?;
    world.leave_room_for(Some(0)).await?;
    let image = next_image(world).large_kernel("that does not fit");
    world.publish(Channel::MAIN, &image).await?;
    let fingerprint = world.fingerprint().await?;
    match world.upgrade(UpgradeMode::Stage).await {
        Ok(outcome) => ensure!(outcome == Upgraded::Staged, "an upgrade ended as {outcome:?}"),
        Err(Trouble::Refused(refusal)) => {
            nothing_changed(world, &fingerprint, &refusal, ErrorKind::NoSpace).await?;
            let status = world.status().await?;
            shows(&status, is_version(status.rollback.as_ref(), before), "the way back is there")?;
        }
        Err(other) => return Err(other.into()),
    }
    Ok(world.leave_room_for(None).await?)
}

/// Stages an image with room for no further kernel; or for one, where an upgrade also writes that of the running system anew, and says so.
async fn stage_in_little_room(world: &mut dyn World, image: &TestImage) -> CaseResult {
    let start = world.checkpoint().await?;
    world.leave_room_for(Some(0)).await?;
    world.publish(Channel::MAIN, image).await?;
    match world.upgrade(UpgradeMode::Stage).await {
        Ok(outcome) => ensure!(outcome == Upgraded::Staged, "an upgrade ended as {outcome:?}"),
        Err(Trouble::Refused(refusal)) if refusal.kind == ErrorKind::NoSpace => {
            world.restore(&*start).await?;
            world.leave_room_for(Some(1)).await?;
            stage(world, image).await?;
        }
        Err(other) => return Err(other.into()),
    }
    Ok(())
}

async fn refused_with_numbers(world: &mut dyn World) -> CaseResult {
    let running = install(world, &InstallOptions::default()).await?;
    world.leave_room_for(Some(0)).await?;
    let image = next_image(world).large_kernel("that does not fit");
    world.publish(Channel::MAIN, &image).await?;
    let before = world.fingerprint().await?;
    let refusal = refused(world.upgrade(UpgradeMode::Stage).await)?;
    nothing_changed(world, &before, &refusal, ErrorKind::NoSpace).await?;
    let numbers = refusal.text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).count();
    ensure!(numbers >= 2, "the refusal has no numbers: {}", refusal.text);
    let rebooted = world.reboot().await?;
    ensure!(rebooted == running, "{rebooted:?} runs");
    world.leave_room_for(None).await?;
    super::steps::upgrade_to(world, &image).await.map(drop)
}
