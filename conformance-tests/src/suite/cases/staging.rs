//! Between an upgrade and its reboot.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    steps::{has, next_image, reboot_into, shows, stage, upgrade, with_way_back},
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, Property, SystemStatus, UpgradeMode, Upgraded, Version, is_version,
};

pub(super) const CASES: &[Case] = &[
    case!(
        "staging::check_writes_nothing",
        ["BW-106"],
        [Demand::Tier(Property::Fingerprints)],
        Running,
        check_writes_nothing
    ),
    case!("staging::a_download_waits_until_it_is_asked_for", ["BW-108"], [], Running, download_waits),
    case!(
        "staging::a_newer_image_replaces_what_is_staged",
        ["BW-101", "BW-128"],
        [],
        Running,
        newer_replaces
    ),
    case!(
        "staging::a_power_cut_before_the_shutdown_boots_the_old_one",
        ["BW-002", "BW-111", "BW-804"],
        [],
        Running,
        missed_finalisation
    ),
    case!(
        "staging::an_upgrade_works_after_a_missed_finalisation",
        ["BW-111"],
        [],
        Running,
        upgrade_after_missed
    ),
    case!(
        "staging::what_is_no_real_shutdown_leaves_it_staged",
        ["BW-133"],
        [Demand::Tier(Property::SoftReboots)],
        Running,
        soft_reboot
    ),
];

async fn check_writes_nothing(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    let before = world.fingerprint().await?;
    let outcome = world.upgrade(UpgradeMode::Check).await?;
    ensure!(outcome == Upgraded::Available, "a new image was not noticed: {outcome:?}");
    before.unchanged(&world.fingerprint().await?, "upgrade --check")?;
    upgrade(world).await.map(drop)
}

async fn download_waits(world: &mut dyn World) -> CaseResult {
    let before = world.running().await?.version;
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    let outcome = world.upgrade(UpgradeMode::DownloadOnly).await?;
    ensure!(outcome == Upgraded::Downloaded, "a download ended as {outcome:?}");
    let status = world.status().await?;
    shows(&status, status.on_hold && is_version(status.staged.as_ref(), image.version), "it waits")?;
    reboot_into(world, before).await?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::Staged, "what was downloaded was not released: {outcome:?}");
    reboot_into(world, image.version).await.map(drop)
}

async fn newer_replaces(world: &mut dyn World) -> CaseResult {
    let (skipped, wanted) = (next_image(world), next_image(world));
    stage(world, &skipped).await?;
    stage(world, &wanted).await?;
    let status = world.status().await?;
    shows(&status, is_version(status.staged.as_ref(), wanted.version), "the newer one is staged")?;
    shows(&status, status.of(skipped.version).is_none(), "and the older one takes no room any more")?;
    reboot_into(world, wanted.version).await.map(drop)
}

async fn missed_finalisation(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    let image = next_image(world);
    stage(world, &image).await?;
    world.write("etc/merge/before-the-cut", "local").await?;
    let running = world.power_cut().await?;
    ensure!(running.version == now, "{} runs after a power cut, {now} should", running.version);
    let status = still_staged(world, image.version).await?;
    shows(&status, status.finalization_missed, "the finalisation was missed")?;
    reboot_into(world, image.version).await?;
    has(world, "etc/merge/before-the-cut", Some("local"), "it is merged later").await?;
    world.remove("etc/merge/before-the-cut").await?;
    Ok(())
}

async fn soft_reboot(world: &mut dyn World) -> CaseResult {
    let now = world.running().await?.version;
    let image = next_image(world);
    stage(world, &image).await?;
    world.write("var/lib/kept", "by everybody").await?;
    world.restart_units().await?;
    still_staged(world, image.version).await.context("after a restart of units")?;
    let running = world.soft_reboot().await?;
    ensure!(running.version == now, "{} runs, although only user space was restarted", running.version);
    has(world, "var/lib/kept", Some("by everybody"), "/var is still there").await?;
    let status = still_staged(world, image.version).await?;
    shows(&status, is_version(status.booted.as_ref(), now), "what ran before runs")?;
    // What is written now would be lost if /etc had been merged already.
    world.write("etc/merge/after-the-restart", "local").await?;
    reboot_into(world, image.version).await?;
    has(world, "etc/merge/after-the-restart", Some("local"), "it is merged at the real shutdown").await?;
    world.remove("etc/merge/after-the-restart").await?;
    Ok(world.remove("var/lib/kept").await?)
}

async fn still_staged(world: &mut dyn World, version: Version) -> anyhow::Result<SystemStatus> {
    let status = world.status().await?;
    shows(&status, is_version(status.staged.as_ref(), version), "the deployment is still staged")?;
    Ok(status)
}

async fn upgrade_after_missed(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    stage(world, &image).await?;
    world.power_cut().await?;
    upgrade(world).await?;
    let status = world.status().await?;
    shows(&status, status.of(image.version).is_none(), "the one that was missed is gone")?;
    shows(&status, !status.finalization_missed, "nothing is missed")
}
