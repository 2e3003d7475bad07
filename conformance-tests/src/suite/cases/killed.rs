//! The program is killed before each change to the disk that a verb makes, and the machine runs on: nothing that a reboot does comes
//! in between, so the next verb has to recover by itself.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    faults::{is_recovered, nothing_is_left},
    scene::{Verb, points_here, stopped_at},
    steps::upgrade,
};
use crate::suite::{Case, CaseResult, Channel, Demand, Points, Property, Version};

macro_rules! killed {
    ($name:literal, $run:path) => {
        case!(
            $name,
            ["BW-001", "BW-002", "BW-004", "BW-005", "BW-904"],
            [Demand::Tier(Property::CrashPoints), Demand::Tier(Property::Fingerprints)],
            Own,
            $run
        )
    };
}

pub(super) const CASES: &[Case] = &[
    killed!("killed::upgrade", an_upgrade),
    killed!("killed::rollback", a_rollback),
    killed!("killed::gc", a_clean_up),
];

/// What somebody does then.
const NEXT: [Verb; 3] = [Verb::Upgrade, Verb::Rollback, Verb::Gc];

/// Kills a verb before each of its changes in turn, and lets another go on: the next of [`NEXT`] each time, or each of them where all points
/// were asked for.
async fn sweep(world: &mut dyn World, verb: Verb) -> CaseResult {
    let scene = verb.prepare(world).await?;
    world.publish(Channel::MAIN, &scene.image).await?;
    let start = world.checkpoint().await?;
    let count = verb.changes(world).await?;
    for (turn, point) in points_here(world, world.points(), count).into_iter().enumerate() {
        let all = world.points() == Points::All;
        let nexts = NEXT.into_iter().cycle().skip(turn).take(if all { NEXT.len() } else { 1 });
        for next in nexts {
            world.restore(&*start).await?;
            world.publish(Channel::MAIN, &scene.image).await?;
            let what = format!("{verb:?} killed before change {point} of {count}, then {next:?}");
            let may_run = [scene.before, scene.now, scene.image.version];
            go_on(world, verb, point, next, &may_run).await.with_context(|| what)?;
        }
    }
    Ok(())
}

async fn go_on(world: &mut dyn World, verb: Verb, point: u64, next: Verb, may_run: &[Version]) -> CaseResult {
    let running = world.running().await?;
    stopped_at(world, verb, point).await?;
    world.stop_before(None).await?;
    next.run(world).await.context("what somebody does then")?;
    is_recovered(world).await?;
    ensure!(world.running().await? == running, "what runs changed without a reboot");
    let running = world.reboot().await.context("the next reboot")?;
    ensure!(may_run.contains(&running.version), "{} runs, one of {may_run:?} should", running.version);
    upgrade(world).await.context("the next upgrade")?;
    // A store may keep what it can use until it cleans up, which the first boot of a new deployment does.
    nothing_is_left(world).await.context("after the next upgrade")
}

async fn an_upgrade(world: &mut dyn World) -> CaseResult {
    sweep(world, Verb::Upgrade).await
}

async fn a_rollback(world: &mut dyn World) -> CaseResult {
    sweep(world, Verb::Rollback).await
}

async fn a_clean_up(world: &mut dyn World) -> CaseResult {
    sweep(world, Verb::Gc).await
}
