//! What is interrupted, and the machine on which that happens.

use anyhow::{Context as _, ensure};

use super::{
    World,
    steps::{add_foreign, foreign_stays, has, next_image, stage, upgrade, with_way_back},
};
use crate::suite::{
    CaseResult, Channel, Demand, Points, Property, Result, SeenEntry, TestImage, Trouble, UpgradeMode,
    Version, points::fnv1a,
};

const IMMUTABLE: Demand = Demand::Tier(Property::ImmutableFiles);

/// A default that somebody changed, a file that no image has, and data: with what each has to hold.
const MARKS: [(&str, &str); 3] = [
    ("etc/marker/constant", "changed here"),
    ("etc/marker/local", "made here"),
    ("var/marker/local", "data"),
];

/// What is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Upgrade,
    Switch,
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
    /// What its people made.
    pub marks: Marks,
}

/// What belongs to the people of a machine, and to other systems on it: no interruption may touch it.
pub(super) struct Marks {
    /// An entry of another system, where the loader has such.
    foreign: Option<SeenEntry>,
}

impl Marks {
    /// Makes them on what runs. Deployments that are made later take over what is in `/etc`.
    pub(super) async fn leave(world: &mut dyn World) -> anyhow::Result<Self> {
        for (path, text) in MARKS {
            world.write(path, text).await?;
        }
        Ok(Self { foreign: add_foreign(world).await? })
    }

    /// Whether the entry of the other system is among these, as it was.
    pub(super) fn stay_among(&self, entries: &[SeenEntry]) -> CaseResult {
        foreign_stays(self.foreign.as_ref(), entries)
    }

    /// Whether what runs has the rest.
    pub(super) async fn are_in(&self, world: &mut dyn World) -> CaseResult {
        for (path, text) in MARKS {
            has(world, path, Some(text), "somebody of this machine wrote it").await?;
        }
        Ok(())
    }
}

/// A deployment was pinned, and is not any more.
async fn to_be_cleaned(world: &mut dyn World, marks: Marks) -> anyhow::Result<Scene> {
    let (first, before) = with_way_back(world).await?;
    let id = world.status().await?.of(first).context("the way back")?.id.clone();
    world.set_pinned(&id, true).await?;
    let now = upgrade(world).await?.version;
    world.set_pinned(&id, false).await?;
    Ok(Scene { before, now, image: next_image(world), marks })
}

impl Verb {
    /// Makes everything ready for it.
    pub(super) async fn prepare(self, world: &mut dyn World) -> anyhow::Result<Scene> {
        let marks = Marks::leave(world).await?;
        if self == Self::Gc {
            return to_be_cleaned(world, marks).await;
        }
        let (before, now) = with_way_back(world).await?;
        if world.demand(&IMMUTABLE).is_ok() {
            // What a stopped command leaves of a copy of it has to go as well.
            world.write("etc/fixed", "local").await?;
            world.set_immutable("etc/fixed", true).await?;
        }
        let image = next_image(world);
        let image = match self {
            Self::Upgrade | Self::Switch | Self::Shutdown => image.kernel("of the upgrade"),
            _ => image,
        };
        self.offer(world, &image).await?;
        Ok(Scene { before, now, image, marks })
    }

    async fn offer(self, world: &mut dyn World, image: &TestImage) -> anyhow::Result<()> {
        match self {
            Self::Upgrade => Ok(world.publish(Channel::MAIN, image).await?),
            Self::Switch => Ok(world.publish(Channel::OTHER, image).await?),
            Self::Shutdown | Self::Rollback => stage(world, image).await,
            Self::Confirm => Ok(world.rollback().await?),
            Self::Gc => Ok(()),
        }
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
            Self::Switch => world.switch(Channel::OTHER, UpgradeMode::Stage).await.map(drop),
            Self::Shutdown | Self::Confirm => world.reboot().await.map(drop),
            Self::Rollback => world.rollback().await,
            Self::Gc => world.gc().await,
        }
    }
}

/// Points of a verb to try: where they are few, other ones on every combination.
pub(super) fn points_here(world: &dyn World, points: Points, count: u64) -> Vec<u64> {
    // The same combination tries the same points each time.
    points.of_turn(count, fnv1a(&world.cell().to_string()))
}

/// The verb, stopped before its `point`th change.
pub(super) async fn stopped_at(world: &mut dyn World, verb: Verb, point: u64) -> CaseResult {
    world.stop_before(Some(point)).await?;
    match verb.run(world).await {
        Ok(()) | Err(Trouble::Refused(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}
