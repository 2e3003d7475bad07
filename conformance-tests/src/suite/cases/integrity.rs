//! Damage: found, named, and not booted.

use anyhow::ensure;
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{entries_if_seen, fsck_finds_nothing, install, upgrade, with_way_back},
};
use crate::suite::{Case, CaseResult, Damage, Demand, InstallOptions, Property, refused};

const DAMAGE: Demand = Demand::Tier(Property::Damage);

pub(super) const CASES: &[Case] = &[
    case!("integrity::fsck_finds_nothing_on_a_whole_disk", ["BW-311"], [], Running, nothing_wrong),
    case!("integrity::fsck_names_a_damaged_object", ["BW-311"], [DAMAGE], Own, damaged_object),
    case!("integrity::fsck_names_a_missing_object", ["BW-311"], [DAMAGE], Own, missing_object),
    case!(
        "integrity::a_rollback_never_leads_to_a_damaged_entry",
        ["BW-122", "BW-407"],
        [DAMAGE],
        Own,
        damaged_entry
    ),
    case!("rollback::with_nothing_to_go_back_to_is_refused", ["BW-117"], [], Blank, nothing_to_go_back_to),
];

async fn nothing_wrong(world: &mut dyn World) -> CaseResult {
    with_way_back(world).await?;
    fsck_finds_nothing(world).await?;
    entries_if_seen(world).await.map(drop)
}

async fn finds(world: &mut dyn World, damage: fn(crate::suite::Version) -> Damage) -> CaseResult {
    let running = upgrade(world).await?;
    world.damage(damage(running.version)).await?;
    let findings = world.fsck().await?;
    ensure!(!findings.problems.is_empty(), "fsck does not notice the damage");
    let named = findings.problems.iter().any(|line| line.contains(&running.id));
    ensure!(named, "fsck does not say that {} needs it: {findings:#?}", running.id);
    Ok(())
}

async fn damaged_object(world: &mut dyn World) -> CaseResult {
    finds(world, Damage::StoredFile).await
}

async fn missing_object(world: &mut dyn World) -> CaseResult {
    finds(world, Damage::MissingFile).await
}

async fn damaged_entry(world: &mut dyn World) -> CaseResult {
    let old = super::steps::next_image(world).kernel("of its own");
    super::steps::upgrade_to(world, &old).await?;
    let running = upgrade(world).await?;
    world.damage(Damage::BootFile(old.version)).await?;
    let refusal = refused(world.rollback().await)?;
    ensure!(refusal.kind == ErrorKind::NotFound, "refused as {}: {}", refusal.kind, refusal.text);
    let rebooted = world.reboot().await?;
    ensure!(rebooted == running, "{rebooted:?} runs");
    Ok(())
}

async fn nothing_to_go_back_to(world: &mut dyn World) -> CaseResult {
    let running = install(world, &InstallOptions::default()).await?;
    let refusal = refused(world.rollback().await)?;
    ensure!(refusal.kind == ErrorKind::NotFound, "refused as {}: {}", refusal.kind, refusal.text);
    let rebooted = world.reboot().await?;
    ensure!(rebooted == running, "{rebooted:?} runs");
    Ok(())
}
