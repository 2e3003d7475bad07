//! Power is cut before each change to the disk that a verb makes.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    scene::{Marks, Verb, points_here, stopped_at},
    steps::{
        all_whole, fsck_finds_nothing, install_image, into_a_trial, next_image, reboot_into, stage, upgrade,
        whole_entries, with_way_back,
    },
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, Health, InstallOptions, Points, Property, SeenEntry, TestImage, Tier,
    Trouble, UpgradeMode, Upgraded, Version, is_version,
};

const POINTS: Demand = Demand::Tier(Property::CrashPoints);
const MENUS: Demand = Demand::Tier(Property::BootMenus);

macro_rules! sweep {
    ($name:literal, $setting:ident, $run:path) => {
        case!(
            $name,
            ["BW-001", "BW-002", "BW-003", "BW-004", "BW-005", "BW-007", "BW-401"],
            [POINTS, MENUS],
            $setting,
            $run
        )
    };
}

/// The same about deployments on trial.
macro_rules! tried {
    ($name:literal, [$($spec:literal),*], [$($demand:expr),*], $run:path) => {
        case!(
            $name,
            ["BW-001", "BW-002", "BW-003", "BW-004", "BW-005", $($spec),*],
            [POINTS, MENUS, Demand::Loader("boot_counting"), Demand::Tier(Property::FailingBoots), $($demand),*],
            Own,
            $run
        )
    };
}

const UNCONFIRMED: Demand = Demand::Tier(Property::UnconfirmedBoots);

pub(super) const CASES: &[Case] = &[
    sweep!("crash::install", Blank, during_install),
    sweep!("crash::upgrade", Own, during_upgrade),
    sweep!("crash::switch", Own, during_switch),
    sweep!("crash::shutdown", Own, during_shutdown),
    sweep!("crash::first_boot_of_a_new_deployment", Own, during_confirmation),
    tried!("crash::a_trial_that_fails", ["BW-123"], [], during_a_failing_trial),
    tried!("crash::shutdown_after_a_failed_trial", ["BW-318", "BW-409"], [], after_a_failed_trial),
    tried!("crash::shutdown_during_a_trial", ["BW-318"], [UNCONFIRMED], during_a_trial),
    sweep!("crash::rollback", Own, during_rollback),
    sweep!("crash::gc", Own, during_gc),
];

/// What may be left of a verb, wherever it was cut.
struct Outcome {
    /// What may run.
    may_run: Vec<Version>,
    /// What is staged still, or known as what failed.
    failing: Option<Version>,
    marks: Marks,
    /// What each deployment was seen to start, in whatever state: always the same.
    starts: BTreeMap<String, String>,
}

impl Outcome {
    fn new(may_run: &[Version], marks: Marks) -> Self {
        Self { may_run: may_run.to_vec(), failing: None, marks, starts: BTreeMap::new() }
    }

    fn failing(self, version: Version) -> Self {
        Self { failing: Some(version), ..self }
    }

    /// What firmware and loader find, before anything recovers: every entry is whole and starts what it did before.
    async fn check_entries(&mut self, world: &mut dyn World) -> CaseResult {
        let all = world.entries().await?;
        self.marks.stay_among(&all)?;
        let ours: Vec<_> = all.into_iter().filter(|entry| !entry.foreign).collect();
        all_whole(&ours)?;
        ours.iter().try_for_each(|entry| self.agrees(entry))
    }

    fn agrees(&mut self, entry: &SeenEntry) -> CaseResult {
        let known = self.starts.entry(entry.deployment.clone()).or_insert_with(|| entry.starts.clone());
        ensure!(
            *known == entry.starts,
            "{} starts something else than before: {}, not {known}",
            entry.name,
            entry.starts
        );
        Ok(())
    }

    async fn check(&mut self, world: &mut dyn World) -> CaseResult {
        self.check_entries(world).await.context("as the cut left it")?;
        let running = world.power_cut().await.context("boot after the cut")?;
        let may_run = &self.may_run;
        ensure!(may_run.contains(&running.version), "{} runs, one of {may_run:?} should", running.version);
        self.check_entries(world).await?;
        self.marks.are_in(world).await?;
        fsck_finds_nothing(world).await?;
        // What the first boot cleaned up must not have been what the second one needs.
        let again = world.power_cut().await.context("second boot after the cut")?;
        ensure!(again == running, "{again:?} runs after a second cut, {running:?} did before");
        self.check_status(world, running.version).await?;
        // Whatever was left half-done must not be in the way.
        next_upgrade(world).await.context("the next upgrade")?;
        let status = world.status().await?;
        ensure!(status.interrupted.is_none(), "the interruption was not recovered: {status:#?}");
        self.check_entries(world).await?;
        self.marks.are_in(world).await
    }

    async fn check_status(&self, world: &mut dyn World, running: Version) -> CaseResult {
        let status = world.status().await?;
        // The next shutdown would merge its `/etc` once more.
        let again = is_version(status.staged.as_ref(), running);
        ensure!(!again, "what runs is still staged: {status:#?}");
        let lost = |version| !is_version(status.staged.as_ref(), version) && status.left(version).is_none();
        ensure!(!self.failing.is_some_and(lost), "what failed is forgotten: {status:#?}");
        Ok(())
    }
}

/// An upgrade to a good image, whichever channel is followed.
async fn next_upgrade(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    for channel in [Channel::MAIN, Channel::OTHER] {
        world.publish(channel, &image).await?;
    }
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::Staged, "an upgrade to {} ended as {outcome:?}", image.version);
    reboot_into(world, image.version).await.map(drop)
}

/// A verb on the machine from which it starts.
struct Sweep {
    verb: Verb,
    start: Box<dyn std::any::Any + Send + Sync>,
    /// Its changes, if nothing stops it.
    count: u64,
    outcome: Outcome,
}

impl Sweep {
    async fn begin(world: &mut dyn World, verb: Verb, outcome: Outcome) -> anyhow::Result<Self> {
        let start = world.checkpoint().await?;
        let count = verb.changes(world).await?;
        Ok(Self { verb, start, count, outcome })
    }

    /// Stops the verb before this change; returns that in words.
    async fn cut(&self, world: &mut dyn World, point: u64) -> anyhow::Result<String> {
        world.restore(&*self.start).await?;
        stopped_at(world, self.verb, point).await?;
        Ok(format!("{:?} stopped before change {point} of {}", self.verb, self.count))
    }

    /// Stops the verb before each of its changes in turn, and looks what is left.
    async fn once(&mut self, world: &mut dyn World) -> CaseResult {
        // A failing trial takes several boots at each point.
        let points = if self.outcome.failing.is_some() { world.points().part(2) } else { world.points() };
        for point in points_here(world, points, self.count) {
            let what = self.cut(world, point).await?;
            self.outcome.check(world).await.with_context(|| what)?;
        }
        Ok(())
    }

    /// Stops it before each of its changes, and then the boot that follows, with its recovery, before each of its own: all pairs if that is
    /// asked for, else some of the second.
    async fn twice(&mut self, world: &mut dyn World) -> CaseResult {
        let (first, then) = match (world.tier(), world.points()) {
            (_, Points::All) => (Points::All, Points::All),
            (Tier::Fakes, few) => (few, few.at_most(2)),
            (_, few) => (few.part(4), few.at_most(1)),
        };
        for point in points_here(world, first, self.count) {
            let what = self.cut(world, point).await?;
            self.recovery(world, &what, then).await?;
        }
        Ok(())
    }

    async fn recovery(&mut self, world: &mut dyn World, first: &str, then: Points) -> CaseResult {
        let cut = world.checkpoint().await?;
        world.stop_before(None).await?;
        world.power_on().await.context("the boot after the first cut")?;
        let later = world.mutations().await?;
        for second in points_here(world, then, later) {
            world.restore(&*cut).await?;
            boot_stopped_at(world, second).await?;
            let what = format!("{first}, then the boot before {second} of {later}");
            self.outcome.check(world).await.with_context(|| what)?;
        }
        Ok(())
    }
}

/// One cut, then two.
async fn sweep(world: &mut dyn World, verb: Verb, outcome: Outcome) -> CaseResult {
    let mut sweep = Sweep::begin(world, verb, outcome).await?;
    sweep.once(world).await?;
    sweep.twice(world).await
}

async fn boot_stopped_at(world: &mut dyn World, point: u64) -> CaseResult {
    world.stop_before(Some(point)).await?;
    match world.power_on().await {
        Ok(_) | Err(Trouble::Refused(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Nothing is promised of a disk before its install is done; but what boots from it is whole, and the same install works then.
async fn during_install(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    let start = world.checkpoint().await?;
    world.stop_before(None).await?;
    world.install(&InstallOptions::default()).await.context("undisturbed")?;
    let count = world.mutations().await?;
    for point in points_here(world, world.points(), count) {
        world.restore(&*start).await?;
        world.publish(Channel::MAIN, &image).await?;
        world.stop_before(Some(point)).await?;
        let cut = world.install(&InstallOptions::default()).await;
        let what = format!("an install stopped before change {point} of {count}");
        match cut {
            Ok(()) => drop(whole_entries(world).await.context(what.clone())?),
            Err(Trouble::Refused(_)) => {}
            Err(other) => return Err(other.into()),
        }
        after_a_cut_install(world, &image).await.context(what)?;
    }
    Ok(())
}

async fn after_a_cut_install(world: &mut dyn World, image: &TestImage) -> CaseResult {
    // There is no menu to read before there is a loader, and each tier says that in its own words.
    let entries = world.entries().await.unwrap_or_default();
    if entries.is_empty() {
        world.stop_before(None).await?;
        install_image(world, image, &InstallOptions::default()).await.context("the same install again")?;
    } else {
        all_whole(&entries)?;
        let running = world.power_cut().await.context("what was published boots")?;
        ensure!(running.version == image.version, "{} runs", running.version);
    }
    upgrade(world).await.context("the next upgrade")?;
    whole_entries(world).await.map(drop)
}

/// Everything ready for a verb, and what may be left of it.
async fn ready(world: &mut dyn World, verb: Verb) -> anyhow::Result<Outcome> {
    let scene = verb.prepare(world).await?;
    let may_run = match verb {
        Verb::Upgrade | Verb::Switch | Verb::Gc => vec![scene.now],
        Verb::Shutdown => vec![scene.now, scene.image.version],
        // The boot was good; confirming it and cleaning up is interrupted.
        Verb::Confirm | Verb::Rollback => vec![scene.before, scene.now],
    };
    Ok(Outcome::new(&may_run, scene.marks))
}

async fn during(world: &mut dyn World, verb: Verb) -> CaseResult {
    let outcome = ready(world, verb).await?;
    sweep(world, verb, outcome).await
}

async fn during_upgrade(world: &mut dyn World) -> CaseResult {
    during(world, Verb::Upgrade).await
}

async fn during_switch(world: &mut dyn World) -> CaseResult {
    during(world, Verb::Switch).await
}

async fn during_shutdown(world: &mut dyn World) -> CaseResult {
    during(world, Verb::Shutdown).await
}

async fn during_confirmation(world: &mut dyn World) -> CaseResult {
    during(world, Verb::Confirm).await
}

async fn during_rollback(world: &mut dyn World) -> CaseResult {
    during(world, Verb::Rollback).await
}

async fn during_gc(world: &mut dyn World) -> CaseResult {
    during(world, Verb::Gc).await
}

/// The new deployment never comes up: the cut is in the shutdown, or where the good one cleans up after it.
async fn during_a_failing_trial(world: &mut dyn World) -> CaseResult {
    let marks = Marks::leave(world).await?;
    let (_, now) = with_way_back(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    sweep(world, Verb::Shutdown, Outcome::new(&[now], marks).failing(bad.version)).await
}

/// What boots meanwhile must not be what the next finalisation writes over.
async fn after_a_failed_trial(world: &mut dyn World) -> CaseResult {
    let marks = Marks::leave(world).await?;
    let (_, now) = with_way_back(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    reboot_into(world, now).await?;
    // An entry that led to the new tree instead of its own would not come up either.
    let next = next_image(world).health(Health::NeverComesUp);
    stage(world, &next).await?;
    let outcome = Outcome::new(&[now], marks).failing(next.version);
    Sweep::begin(world, Verb::Shutdown, outcome).await?.once(world).await
}

/// Nobody confirmed the boot of the new deployment, and the one after it takes its turn.
async fn during_a_trial(world: &mut dyn World) -> CaseResult {
    let marks = Marks::leave(world).await?;
    let (now, tried) = into_a_trial(world).await?;
    let next = next_image(world).health(Health::NeverComesUp);
    stage(world, &next).await?;
    let outcome = Outcome::new(&[now, tried.version], marks).failing(next.version);
    Sweep::begin(world, Verb::Shutdown, outcome).await?.once(world).await
}
