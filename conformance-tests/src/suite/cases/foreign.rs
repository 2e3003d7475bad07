//! Boot entries of other programs.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    steps::{upgrade, with_way_back},
};
use crate::suite::{Case, CaseResult, Demand, Property, SeenEntry};

pub(super) const CASES: &[Case] = &[case!(
    "foreign::entries_of_others_stay_as_they_are",
    ["BW-007"],
    [Demand::Tier(Property::ForeignEntries)],
    Own,
    entries_stay
)];

async fn foreign(world: &mut dyn World, name: &str) -> anyhow::Result<SeenEntry> {
    let all = world.entries().await?;
    let found = all.iter().find(|entry| entry.name == name);
    Ok(found.with_context(|| format!("the foreign entry {name} is gone: {all:#?}"))?.clone())
}

async fn entries_stay(world: &mut dyn World) -> CaseResult {
    let name = world.add_foreign_entry().await?;
    let added = foreign(world, &name).await?;
    with_way_back(world).await?;
    ensure!(foreign(world, &name).await? == added, "an upgrade changed the foreign entry");
    world.rollback().await?;
    ensure!(foreign(world, &name).await? == added, "a rollback changed the foreign entry");
    world.rollback().await?;
    upgrade(world).await?;
    world.gc().await?;
    ensure!(foreign(world, &name).await? == added, "a clean-up changed the foreign entry");
    let status = world.status().await?;
    ensure!(!status.foreign.is_empty(), "status does not list the foreign entry");
    Ok(())
}
