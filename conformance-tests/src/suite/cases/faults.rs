//! One change to the disk fails, or one call that makes changes durable, and no other does; or each call that reads does, once.

use anyhow::{Context as _, ensure};
use bootwright_core::{
    ErrorKind,
    fs::{Fault, TEMPORARY_PREFIX},
};

use super::{
    World, case,
    scene::{Scene, Verb},
    steps::{fsck_finds_nothing, shows, upgrade, whole_entries},
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, Fingerprint, Points, Property, Refusal, Trouble, Version,
    points::fnv1a,
};

macro_rules! faults {
    ($name:literal, $run:path) => {
        case!(
            $name,
            ["BW-001", "BW-002", "BW-004", "BW-005", "BW-903", "BW-906"],
            [Demand::Tier(Property::CrashPoints), Demand::Tier(Property::Fingerprints)],
            Own,
            $run
        )
    };
}

pub(super) const CASES: &[Case] = &[
    faults!("faults::upgrade", in_an_upgrade),
    faults!("faults::shutdown", in_a_shutdown),
    faults!("faults::first_boot_of_a_new_deployment", in_a_confirmation),
    faults!("faults::rollback", in_a_rollback),
    faults!("faults::gc", in_a_clean_up),
];

/// Lets what a verb asks of its disks fail, and looks whether the same verb works then. Only `may_run` may run.
async fn sweep(world: &mut dyn World, verb: Verb, scene: &Scene, may_run: &[Version]) -> CaseResult {
    let start = world.checkpoint().await?;
    changes_that_fail(world, verb, scene, may_run).await?;
    world.restore(&*start).await?;
    world.publish(Channel::MAIN, &scene.image).await?;
    reads_that_fail_at_first(world, verb, scene, may_run).await.context("where each read fails at first")
}

/// Nobody is to notice anything.
async fn reads_that_fail_at_first(
    world: &mut dyn World,
    verb: Verb,
    scene: &Scene,
    may_run: &[Version],
) -> CaseResult {
    world.fail_reads_at_first().await?;
    verb.run(world).await?;
    nothing_is_lost(world, verb, scene).await?;
    ensure!(world.failed().await?.is_some(), "nothing was read");
    the_same_again(world, verb, may_run).await
}

/// Counts the changes of a verb, and what makes them durable, and lets each fail in turn.
async fn changes_that_fail(
    world: &mut dyn World,
    verb: Verb,
    scene: &Scene,
    may_run: &[Version],
) -> CaseResult {
    let start = world.checkpoint().await?;
    let before = world.fingerprint().await?;
    let changes = verb.changes(world).await?;
    let syncs = world.syncs().await?;
    let faults = faults_here(world);
    let kinds = faults.len() as u64;
    for (kind, fault) in (0..).zip(faults) {
        let count = if fault == Fault::Sync { syncs } else { changes };
        for point in world.points().part(kinds).of_kind(count, kind, kinds) {
            world.restore(&*start).await?;
            world.publish(Channel::MAIN, &scene.image).await?;
            let what = format!("{fault:?} at {point} of {count} in {verb:?}");
            one(world, (verb, scene), may_run, &before, (point, fault)).await.with_context(|| what)?;
        }
    }
    Ok(())
}

/// What ran before, and the way back where a good boot has not made another one, are there.
async fn nothing_is_lost(world: &mut dyn World, verb: Verb, scene: &Scene) -> CaseResult {
    let status = world.status().await?;
    let kept = if verb == Verb::Shutdown { vec![scene.now] } else { vec![scene.now, scene.before] };
    kept.into_iter()
        .try_for_each(|version| shows(&status, status.of(version).is_some(), &format!("{version} is there")))
}

/// Where points are few, each combination lets another kind of calls fail: the same one each time.
fn faults_here(world: &dyn World) -> Vec<Fault> {
    let kinds = Fault::OF_CHANGES;
    match world.points() {
        Points::Few(few) if few < kinds.len() as u64 => {
            let turn = fnv1a(&world.cell().to_string()) % kinds.len() as u64;
            (0..).zip(kinds).filter(|(place, _)| *place == turn).map(|(_, kind)| kind).collect()
        }
        _ => kinds.to_vec(),
    }
}

async fn one(
    world: &mut dyn World,
    (verb, scene): (Verb, &Scene),
    may_run: &[Version],
    before: &Fingerprint,
    (point, fault): (u64, Fault),
) -> CaseResult {
    world.fail_once(point, fault).await?;
    let outcome = verb.run(world).await;
    let failed = world.failed().await?.context("the change was not reached")?;
    nothing_is_lost(world, verb, scene).await.with_context(|| failed.clone())?;
    match outcome {
        Ok(()) => {
            ensure!(may_go_unsaid(fault, &failed), "nobody was told that this failed: {failed}");
            the_same_again(world, verb, may_run).await
        }
        Err(Trouble::Refused(refusal)) => {
            is_clear(&refusal, fault)?;
            whole_entries(world).await?;
            if verb == Verb::Upgrade {
                let after = apart_from_downloads(&world.fingerprint().await?);
                apart_from_downloads(before).unchanged(&after, "a failed upgrade")?;
            }
            the_same_again(world, verb, may_run).await.with_context(|| refusal.text)
        }
        Err(other) => Err(other.into()),
    }
}

/// Whether a command may go on if this change fails like that. BW-903 has the reasons.
fn may_go_unsaid(fault: Fault, change: &str) -> bool {
    match fault {
        // The record that nothing is left to be cleaned up.
        Fault::NoSpace => change.ends_with("clean.json"),
        // A folder on FAT that Linux does not let go of.
        Fault::Io => change.starts_with("remove folder") && change.contains("esp/"),
        Fault::Sync | Fault::Read => false,
        Fault::Signal => true,
    }
}

/// What was fetched stays for the next try: of the root file system, the engine's own state counts.
fn apart_from_downloads(all: &Fingerprint) -> Fingerprint {
    let counts = |name: &str| !name.starts_with("root/") || name.starts_with("root/bootwright/");
    let kept = all.0.iter().filter(|(name, _)| counts(name));
    Fingerprint(kept.map(|(name, text)| (name.clone(), text.clone())).collect())
}

async fn the_same_again(world: &mut dyn World, verb: Verb, may_run: &[Version]) -> CaseResult {
    verb.run(world).await.context("the same again")?;
    nothing_is_left(world).await?;
    let running = world.reboot().await.context("the next reboot")?;
    ensure!(may_run.contains(&running.version), "{} runs, one of {may_run:?} should", running.version);
    upgrade(world).await.context("the next upgrade").map(drop)
}

/// The error names what happened, and a signal is none.
fn is_clear(refusal: &Refusal, fault: Fault) -> CaseResult {
    let kind = match fault {
        Fault::NoSpace => ErrorKind::NoSpace,
        Fault::Io | Fault::Sync | Fault::Read => ErrorKind::Io,
        Fault::Signal => anyhow::bail!("a signal made it fail: {}", refusal.text),
    };
    ensure!(refusal.kind == kind, "reported as {}, not as {kind}: {}", refusal.kind, refusal.text);
    Ok(())
}

/// All is whole, and nobody has to do anything about what was interrupted.
pub(super) async fn is_recovered(world: &mut dyn World) -> CaseResult {
    whole_entries(world).await?;
    fsck_finds_nothing(world).await?;
    let status = world.status().await?;
    ensure!(status.interrupted.is_none(), "the failure was not recovered: {status:#?}");
    Ok(())
}

/// The same, and no file that was being written.
pub(super) async fn nothing_is_left(world: &mut dyn World) -> CaseResult {
    is_recovered(world).await?;
    let all = world.fingerprint().await?;
    let left: Vec<_> = all.0.keys().filter(|name| name.contains(TEMPORARY_PREFIX)).collect();
    ensure!(left.is_empty(), "temporary files are left: {left:?}");
    Ok(())
}

async fn in_an_upgrade(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Upgrade.prepare(world).await?;
    sweep(world, Verb::Upgrade, &scene, &[scene.image.version]).await
}

/// A confirmation that fails uses up a try, where there is only one: then the last good version runs again.
async fn in_a_shutdown(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Shutdown.prepare(world).await?;
    sweep(world, Verb::Shutdown, &scene, &[scene.now, scene.image.version]).await
}

async fn in_a_confirmation(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Confirm.prepare(world).await?;
    sweep(world, Verb::Confirm, &scene, &[scene.before]).await
}

/// What was committed before it failed is undone by the second.
async fn in_a_rollback(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Rollback.prepare(world).await?;
    sweep(world, Verb::Rollback, &scene, &[scene.before, scene.now]).await
}

async fn in_a_clean_up(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Gc.prepare(world).await?;
    sweep(world, Verb::Gc, &scene, &[scene.now]).await
}
