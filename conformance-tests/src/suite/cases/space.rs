//! Little room: for boot files, and on the root, in blocks and in inodes.

use anyhow::{Context as _, ensure};
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{
        entries_if_seen, install, next_image, nothing_changed, reboot_into, shows, stage, upgrade,
        upgrade_to, whole_entries, with_way_back,
    },
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, Filler, Health, InstallOptions, Points, Property, TestImage, Trouble,
    UpgradeMode, Upgraded, is_version, refused,
};

const LITTLE_ROOM: Demand = Demand::Tier(Property::LittleRoom);
const FULL_ROOT: Demand = Demand::Tier(Property::FullRoot);
/// How many blocks or inodes are left at a shutdown: none, and some, but not enough.
const LEFT: [u64; 2] = [0, 5];
/// With so many, a test image fits.
const ENOUGH: u64 = 10_000;

pub(super) const CASES: &[Case] = &[
    case!(
        "space::the_way_back_gives_way",
        ["BW-113", "BW-404"],
        [LITTLE_ROOM, Demand::Tier(Property::CrashPoints)],
        Own,
        way_back_gives_way
    ),
    case!(
        "space::the_oldest_that_nobody_needs_gives_way_first",
        ["BW-113"],
        [LITTLE_ROOM, Demand::Tier(Property::CrashPoints), Demand::Tier(Property::BootMenus)],
        Own,
        oldest_gives_way
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
    case!(
        "space::an_upgrade_on_a_full_root_is_refused_and_nothing_is_stuck",
        ["BW-315", "BW-905"],
        [FULL_ROOT],
        Own,
        upgrade_on_a_full_root
    ),
    case!(
        "space::a_shutdown_on_a_full_root_leaves_what_boots",
        ["BW-001", "BW-905"],
        [FULL_ROOT],
        Own,
        shutdown_on_a_full_root
    ),
    case!(
        "space::a_rollback_and_unpinning_work_on_a_full_root",
        ["BW-905"],
        [FULL_ROOT],
        Own,
        rollback_on_a_full_root
    ),
    case!(
        "space::a_lost_trial_is_left_on_a_full_root",
        ["BW-123", "BW-905"],
        [FULL_ROOT, Demand::Tier(Property::UnconfirmedBoots), Demand::Tier(Property::FailingBoots)],
        Own,
        lost_trial_on_a_full_root
    ),
];

async fn way_back_gives_way(world: &mut dyn World) -> CaseResult {
    let other_kernel = next_image(world).large_kernel("of the way back");
    upgrade_to(world, &other_kernel).await?;
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

/// One that was pinned until now is older than the way back, which stays as long as that is enough.
async fn oldest_gives_way(world: &mut dyn World) -> CaseResult {
    let mut versions = Vec::new();
    for kernel in ["of the oldest", "of the way back", "that runs"] {
        let image = next_image(world).large_kernel(kernel);
        upgrade_to(world, &image).await?;
        versions.push(image.version);
        let oldest = world.status().await?.of(versions[0]).context("the oldest")?.id.clone();
        world.set_pinned(&oldest, versions.len() < 3).await?;
    }
    let start = world.checkpoint().await?;
    let image = next_image(world).large_kernel("that needs room");
    // Where an upgrade writes kernels of older ones anew, with other root arguments, more of them have to find room.
    for room in 0..=3 {
        if room > 0 {
            world.restore(&*start).await?;
        }
        world.leave_room_for(Some(room)).await?;
        stage(world, &image).await?;
        let status = world.status().await?;
        if whole_entries(world).await?.len() == 2 && is_version(status.rollback.as_ref(), versions[1]) {
            reboot_into(world, image.version).await?;
            return Ok(world.leave_room_for(None).await?);
        }
    }
    anyhow::bail!("not the oldest alone gave way: {:#?}", world.status().await?)
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
    upgrade_to(world, &image).await.map(drop)
}

/// Refused with little, and staged with more: at each number in between, it stops at another step.
async fn upgrade_on_a_full_root(world: &mut dyn World) -> CaseResult {
    let step = if world.points() == Points::All { 4 } else { 64 };
    for with in Filler::ALL {
        let running = world.running().await?;
        let image = next_image(world);
        world.publish(Channel::MAIN, &image).await?;
        let mut left = 0;
        while !staged_with(world, with, left).await.with_context(|| full(with, left))? {
            entries_if_seen(world).await.with_context(|| full(with, left))?;
            ensure!(world.running().await? == running, "something else runs");
            left = left * step + 1;
            ensure!(left < ENOUGH, "no upgrade with {}", full(with, left));
        }
        world.empty_root().await?;
        reboot_into(world, image.version).await?;
    }
    upgrade(world).await.map(drop)
}

fn full(with: Filler, left: u64) -> String {
    format!("{left} of {with:?} left")
}

/// Whether an upgrade works with so many blocks or inodes. If not, it says what there is too little of, and what frees room still works.
async fn staged_with(world: &mut dyn World, with: Filler, left: u64) -> anyhow::Result<bool> {
    world.fill_root(with, left).await?;
    match world.upgrade(UpgradeMode::Stage).await {
        Ok(outcome) => ensure!(outcome == Upgraded::Staged, "an upgrade ended as {outcome:?}"),
        Err(Trouble::Refused(refusal)) => {
            let (kind, text) = (refusal.kind, refusal.text);
            ensure!(kind == ErrorKind::NoSpace, "refused as {kind}: {text}");
            let says = text.contains("MiB") && text.contains("inodes");
            ensure!(says, "it does not say what is missing: {text}");
            let status = world.status().await?;
            shows(&status, status.staged.is_none(), "nothing is staged")?;
            // With nothing at all left, too.
            world.fill_root(with, 0).await?;
            world.gc().await.context("a clean-up")?;
            return Ok(false);
        }
        Err(other) => return Err(other.into()),
    }
    Ok(true)
}

async fn shutdown_on_a_full_root(world: &mut dyn World) -> CaseResult {
    for with in Filler::ALL {
        for left in LEFT {
            one_shutdown(world, with, left).await.with_context(|| full(with, left))?;
        }
    }
    Ok(())
}

async fn one_shutdown(world: &mut dyn World, with: Filler, left: u64) -> CaseResult {
    let old = world.running().await?.version;
    let image = next_image(world);
    stage(world, &image).await?;
    world.fill_root(with, left).await?;
    let rebooted = match world.reboot().await {
        Err(Trouble::Refused(refusal)) if refusal.kind == ErrorKind::NoSpace => {
            // The machine goes down nevertheless, and comes up again.
            entries_if_seen(world).await?;
            world.empty_root().await?;
            world.power_cut().await?
        }
        other => other?,
    };
    ensure!([old, image.version].contains(&rebooted.version), "{rebooted:?} runs");
    world.empty_root().await?;
    entries_if_seen(world).await?;
    upgrade(world).await.map(drop)
}

async fn rollback_on_a_full_root(world: &mut dyn World) -> CaseResult {
    for with in Filler::ALL {
        let (before, _) = with_way_back(world).await?;
        let pinned = world.running().await?.id;
        world.set_pinned(&pinned, true).await?;
        world.fill_root(with, 0).await?;
        world.rollback().await.with_context(|| full(with, 0))?;
        // A rollback, or what it leaves to the next command, may have used up what is set aside.
        world.fill_root(with, 0).await?;
        world.set_pinned(&pinned, false).await.with_context(|| full(with, 0))?;
        world.fill_root(with, 0).await?;
        reboot_into(world, before).await.with_context(|| full(with, 0))?;
        world.empty_root().await?;
        upgrade(world).await?;
    }
    Ok(())
}

async fn lost_trial_on_a_full_root(world: &mut dyn World) -> CaseResult {
    for with in Filler::ALL {
        lost_trial(world, with).await.with_context(|| full(with, 0))?;
    }
    Ok(())
}

/// What the last good deployment does first is to record the trial, which takes room.
async fn lost_trial(world: &mut dyn World, with: Filler) -> CaseResult {
    let good = world.running().await?.version;
    let image = next_image(world).health(Health::NeverComesUp);
    stage(world, &image).await?;
    world.reboot_unconfirmed().await?;
    world.fill_root(with, 0).await?;
    let running = world.power_cut().await.context("the boots that follow")?;
    ensure!(running.version == good, "{running:?} runs, {good} should");
    let status = world.status().await?;
    shows(&status, status.left(image.version).is_some(), "the trial was lost")?;
    world.empty_root().await?;
    upgrade(world).await.map(drop)
}
