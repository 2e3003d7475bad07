//! What firmware and loader find.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    steps::{upgrade, whole_entries, with_way_back},
};
use crate::suite::{Case, CaseResult, Demand, Property, is_version};

const MENUS: Demand = Demand::Tier(Property::BootMenus);

pub(super) const CASES: &[Case] = &[
    case!("boot::the_first_entry_is_what_runs", ["BW-405"], [MENUS], Running, first_entry_runs),
    case!("boot::every_entry_is_whole", ["BW-004"], [MENUS], Running, entries_are_whole),
    case!("boot::a_rollback_reorders_the_entries", ["BW-002", "BW-405"], [MENUS], Running, rollback_reorders),
    case!(
        "boot::a_default_that_somebody_chose_ends_with_an_upgrade",
        ["BW-423"],
        [MENUS, Demand::Tier(Property::ChosenDefaults)],
        Running,
        chosen_default
    ),
];

async fn first_entry_runs(world: &mut dyn World) -> CaseResult {
    upgrade(world).await?;
    let entries = whole_entries(world).await?;
    let first = entries.first().context("an entry")?;
    let effective = world.cmdline().await?;
    let missing: Vec<_> = first
        .cmdline
        .split_whitespace()
        .filter(|word| !effective.split_whitespace().any(|other| other == *word))
        .collect();
    ensure!(missing.is_empty(), "{missing:?} of the first entry is not in effect: {effective}");
    Ok(())
}

async fn chosen_default(world: &mut dyn World) -> CaseResult {
    let (before, now) = with_way_back(world).await?;
    let entries = whole_entries(world).await?;
    let old = entries.iter().filter(|entry| !entry.foreign).nth(1).context("the entry of the way back")?;
    world.choose_default(&old.name).await?;
    let running = world.reboot().await?;
    ensure!(running.version == before, "{} runs, although {before} was chosen", running.version);
    let status = world.status().await?;
    let told = status.chosen.is_some()
        || is_version(status.of(before), before)
            && status.default == status.of(before).map(|shown| shown.id.clone());
    ensure!(told, "status does not say that {before} boots by default, not {now}: {status:?}");
    upgrade(world).await?;
    let status = world.status().await?;
    ensure!(status.chosen.is_none(), "the choice outlived the upgrade: {status:?}");
    Ok(())
}

async fn entries_are_whole(world: &mut dyn World) -> CaseResult {
    with_way_back(world).await?;
    let entries = whole_entries(world).await?;
    ensure!(entries.len() >= 2, "the way back has no entry: {entries:?}");
    Ok(())
}

async fn rollback_reorders(world: &mut dyn World) -> CaseResult {
    with_way_back(world).await?;
    let before = whole_entries(world).await?;
    world.rollback().await?;
    let after = whole_entries(world).await?;
    let first = |entries: &[crate::suite::SeenEntry]| entries.first().map(|entry| entry.cmdline.clone());
    ensure!(first(&before) != first(&after), "the same entry is first after a rollback: {after:?}");
    let all = |entries: &[crate::suite::SeenEntry]| -> std::collections::BTreeSet<String> {
        entries.iter().map(|entry| entry.cmdline.clone()).collect()
    };
    ensure!(all(&before) == all(&after), "a rollback made or removed what can boot: {before:?} {after:?}");
    world.rollback().await?;
    ensure!(first(&before) == first(&whole_entries(world).await?), "a second rollback does not undo it");
    Ok(())
}
