//! Power is cut before each change to the disk that a verb makes.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    steps::{into_a_trial, next_image, reboot_into, stage, upgrade, whole_entries, with_way_back},
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, Health, Points, Property, Result, TestImage, Tier, Trouble,
    UpgradeMode, Version, is_version,
};

const IMMUTABLE: Demand = Demand::Tier(Property::ImmutableFiles);
const POINTS: Demand = Demand::Tier(Property::CrashPoints);

macro_rules! sweep {
    ($name:literal, $run:path) => {
        case!($name, ["BW-001", "BW-002", "BW-003", "BW-004", "BW-005", "BW-401"], [POINTS], Own, $run)
    };
}

/// The same about deployments on trial.
macro_rules! tried {
    ($name:literal, [$($spec:literal),*], [$($demand:expr),*], $run:path) => {
        case!(
            $name,
            ["BW-001", "BW-002", "BW-003", "BW-004", "BW-005", $($spec),*],
            [POINTS, Demand::Loader("boot_counting"), Demand::Tier(Property::FailingBoots), $($demand),*],
            Own,
            $run
        )
    };
}

const UNCONFIRMED: Demand = Demand::Tier(Property::UnconfirmedBoots);

pub(super) const CASES: &[Case] = &[
    sweep!("crash::upgrade", during_upgrade),
    sweep!("crash::shutdown", during_shutdown),
    sweep!("crash::first_boot_of_a_new_deployment", during_confirmation),
    tried!("crash::a_trial_that_fails", ["BW-123"], [], during_a_failing_trial),
    tried!("crash::shutdown_after_a_failed_trial", ["BW-318", "BW-409"], [], after_a_failed_trial),
    tried!("crash::shutdown_during_a_trial", ["BW-318"], [UNCONFIRMED], during_a_trial),
    sweep!("crash::rollback", during_rollback),
    sweep!("crash::gc", during_gc),
    sweep!("crash::upgrade_and_then_its_recovery", twice_during_upgrade),
    sweep!("crash::shutdown_and_then_its_recovery", twice_during_shutdown),
    sweep!("crash::rollback_and_then_its_recovery", twice_during_rollback),
];

/// What is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Upgrade,
    Shutdown,
    Confirm,
    Rollback,
    Gc,
}

/// A machine on which a verb has something to do.
pub(super) struct Scene {
    /// The way back.
    pub before: Version,
    /// What runs.
    pub now: Version,
    /// What is offered or staged, or can be next.
    pub image: TestImage,
}

/// A deployment was pinned, and is not any more.
async fn to_be_cleaned(world: &mut dyn World) -> anyhow::Result<Scene> {
    let (first, before) = with_way_back(world).await?;
    let id = world.status().await?.of(first).context("the way back")?.id.clone();
    world.set_pinned(&id, true).await?;
    let now = upgrade(world).await?.version;
    world.set_pinned(&id, false).await?;
    Ok(Scene { before, now, image: next_image(world) })
}

impl Verb {
    /// Makes everything ready for it.
    pub(super) async fn prepare(self, world: &mut dyn World) -> anyhow::Result<Scene> {
        if self == Self::Gc {
            return to_be_cleaned(world).await;
        }
        let (before, now) = with_way_back(world).await?;
        if world.demand(&IMMUTABLE).is_ok() {
            // What a stopped command leaves of a copy of it has to go as well.
            world.write("etc/fixed", "local").await?;
            world.set_immutable("etc/fixed", true).await?;
        }
        let image = next_image(world);
        let image = match self {
            Self::Upgrade | Self::Shutdown => image.kernel("of the upgrade"),
            _ => image,
        };
        match self {
            Self::Upgrade => world.publish(Channel::MAIN, &image).await?,
            Self::Shutdown | Self::Rollback => stage(world, &image).await?,
            Self::Confirm => world.rollback().await?,
            Self::Gc => {}
        }
        Ok(Scene { before, now, image })
    }

    /// Runs it, and counts its changes.
    pub(super) async fn changes(self, world: &mut dyn World) -> anyhow::Result<u64> {
        world.stop_before(None).await?;
        self.run(world).await.context("undisturbed")?;
        let count = world.mutations().await?;
        ensure!(count > 0, "{self:?} changes nothing");
        Ok(count)
    }

    pub(super) async fn run(self, world: &mut dyn World) -> Result<()> {
        match self {
            Self::Upgrade => world.upgrade(UpgradeMode::Stage).await.map(drop),
            Self::Shutdown | Self::Confirm => world.reboot().await.map(drop),
            Self::Rollback => world.rollback().await,
            Self::Gc => world.gc().await,
        }
    }
}

/// The verb, stopped before its `point`th change.
pub(super) async fn stopped_at(world: &mut dyn World, verb: Verb, point: u64) -> CaseResult {
    world.stop_before(Some(point)).await?;
    match verb.run(world).await {
        Ok(()) | Err(Trouble::Refused(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Stops a verb before each of its changes, and then the boot that follows, with its recovery, before each of its own: all pairs if that is
/// asked for, else some of the second.
async fn sweep_twice(world: &mut dyn World, verb: Verb, may_run: &[Version]) -> CaseResult {
    let start = world.checkpoint().await?;
    let count = verb.changes(world).await?;
    let (first, then) = match (world.tier(), world.points()) {
        (_, Points::All) => (Points::All, Points::All),
        (Tier::Fakes, few) => (few, few.at_most(2)),
        (_, points) => (points.part(4), points.at_most(2)),
    };
    for point in first.of(count) {
        world.restore(&*start).await?;
        stopped_at(world, verb, point).await?;
        let cut = world.checkpoint().await?;
        world.stop_before(None).await?;
        world.power_on().await.context("the boot after the first cut")?;
        let later = world.mutations().await?;
        for second in then.of(later) {
            world.restore(&*cut).await?;
            world.stop_before(Some(second)).await?;
            match world.power_on().await {
                Ok(_) | Err(Trouble::Refused(_)) => {}
                Err(other) => return Err(other.into()),
            }
            let what =
                format!("{verb:?} stopped before change {point} of {count}, then before {second} of {later}");
            after_the_cut(world, may_run, None).await.with_context(|| what)?;
        }
    }
    Ok(())
}

/// Counts the changes of a verb, then stops before each in turn and looks what is left. Only `may_run` may run after the cut.
async fn sweep(world: &mut dyn World, verb: Verb, may_run: &[Version]) -> CaseResult {
    sweep_with(world, verb, may_run, None).await
}

/// The same; a `failing` version is staged still, or known as what failed.
async fn sweep_with(
    world: &mut dyn World,
    verb: Verb,
    may_run: &[Version],
    failing: Option<Version>,
) -> CaseResult {
    let start = world.checkpoint().await?;
    let count = verb.changes(world).await?;
    // A failing trial takes several boots at each point.
    let points = if failing.is_some() { world.points().part(2) } else { world.points() };
    for point in points.of(count) {
        world.restore(&*start).await?;
        stopped_at(world, verb, point).await?;
        let what = format!("{verb:?} stopped before change {point} of {count}");
        after_the_cut(world, may_run, failing).await.with_context(|| what)?;
    }
    Ok(())
}

async fn after_the_cut(world: &mut dyn World, may_run: &[Version], failing: Option<Version>) -> CaseResult {
    let running = world.power_cut().await.context("boot after the cut")?;
    ensure!(may_run.contains(&running.version), "{} runs, one of {may_run:?} should", running.version);
    whole_entries(world).await?;
    let findings = world.fsck().await?;
    ensure!(findings.problems.is_empty(), "fsck complains: {findings:#?}");
    // What the first boot cleaned up must not have been what the second one needs.
    let again = world.power_cut().await.context("second boot after the cut")?;
    ensure!(again == running, "{again:?} runs after a second cut, {running:?} did before");
    let status = world.status().await?;
    // The next shutdown would merge its `/etc` once more.
    let again = is_version(status.staged.as_ref(), running.version);
    ensure!(!again, "what runs is still staged: {status:#?}");
    let lost = |version| !is_version(status.staged.as_ref(), version) && status.left(version).is_none();
    ensure!(!failing.is_some_and(lost), "what failed is forgotten: {status:#?}");
    // Whatever was left half-done must not be in the way.
    upgrade(world).await.context("the next upgrade")?;
    let status = world.status().await?;
    ensure!(status.interrupted.is_none(), "the interruption was not recovered: {status:#?}");
    whole_entries(world).await.map(drop)
}

async fn during_upgrade(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Upgrade.prepare(world).await?;
    sweep(world, Verb::Upgrade, &[scene.now]).await
}

async fn during_shutdown(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Shutdown.prepare(world).await?;
    sweep(world, Verb::Shutdown, &[scene.now, scene.image.version]).await
}

/// The boot was good; confirming it and cleaning up is interrupted.
async fn during_confirmation(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Confirm.prepare(world).await?;
    sweep(world, Verb::Confirm, &[scene.before, scene.now]).await
}

/// The new deployment never comes up: the cut is in the shutdown, or where the good one cleans up after it.
async fn during_a_failing_trial(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    sweep_with(world, Verb::Shutdown, &[now], Some(bad.version)).await
}

/// What boots meanwhile must not be what the next finalisation writes over.
async fn after_a_failed_trial(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    reboot_into(world, now).await?;
    // An entry that led to the new tree instead of its own would not come up either.
    let next = next_image(world).health(Health::NeverComesUp);
    stage(world, &next).await?;
    sweep_with(world, Verb::Shutdown, &[now], Some(next.version)).await
}

/// Nobody confirmed the boot of the new deployment, and the one after it takes its turn.
async fn during_a_trial(world: &mut dyn World) -> CaseResult {
    let (now, tried) = into_a_trial(world).await?;
    let next = next_image(world).health(Health::NeverComesUp);
    stage(world, &next).await?;
    sweep_with(world, Verb::Shutdown, &[now, tried.version], Some(next.version)).await
}

async fn during_rollback(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Rollback.prepare(world).await?;
    sweep(world, Verb::Rollback, &[scene.before, scene.now]).await
}

async fn during_gc(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Gc.prepare(world).await?;
    sweep(world, Verb::Gc, &[scene.now]).await
}

async fn twice_during_upgrade(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Upgrade.prepare(world).await?;
    sweep_twice(world, Verb::Upgrade, &[scene.now]).await
}

async fn twice_during_shutdown(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Shutdown.prepare(world).await?;
    sweep_twice(world, Verb::Shutdown, &[scene.now, scene.image.version]).await
}

async fn twice_during_rollback(world: &mut dyn World) -> CaseResult {
    let scene = Verb::Rollback.prepare(world).await?;
    sweep_twice(world, Verb::Rollback, &[scene.before, scene.now]).await
}
