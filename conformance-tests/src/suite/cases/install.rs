//! The first deployment.

use anyhow::ensure;
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{entries_if_seen, install, next_image, nothing_changed, shows},
};
use crate::suite::{Case, CaseResult, Channel, Demand, InstallOptions, Property, is_version, refused};

pub(super) const CASES: &[Case] = &[
    case!("install::boots_by_what_is_on_the_disk", ["BW-707"], [], Blank, boots),
    case!("install::the_first_deployment_is_not_counted", ["BW-112"], [], Blank, is_not_counted),
    case!(
        "install::a_disk_that_has_a_system_is_refused",
        ["BW-116"],
        [Demand::Tier(Property::Fingerprints)],
        Blank,
        is_refused_on_a_system
    ),
];

async fn boots(world: &mut dyn World) -> CaseResult {
    let running = install(world, &InstallOptions::default()).await?;
    let status = world.status().await?;
    shows(&status, is_version(status.booted.as_ref(), running.version), "the installed version runs")?;
    shows(&status, status.default.as_ref() == Some(&running.id), "it is the default")?;
    shows(&status, status.rollback.is_none() && status.staged.is_none(), "there is nothing else")?;
    let rebooted = world.reboot().await?;
    ensure!(rebooted == running, "after a reboot {rebooted:?} runs");
    Ok(())
}

async fn is_not_counted(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    world.install(&InstallOptions::default()).await?;
    let entries = entries_if_seen(world).await?.unwrap_or_default();
    ensure!(entries.iter().all(|entry| entry.tries_left.is_none()), "tries are counted: {entries:?}");
    let running = world.power_on().await?;
    ensure!(running.version == image.version, "{running:?} runs");
    let status = world.status().await?;
    let tries = status.booted.as_ref().and_then(|booted| booted.tries_left);
    shows(&status, tries.is_none(), "no tries are counted")
}

async fn is_refused_on_a_system(world: &mut dyn World) -> CaseResult {
    let running = install(world, &InstallOptions::default()).await?;
    let before = world.fingerprint().await?;
    let refusal = refused(world.install(&InstallOptions::default()).await)?;
    nothing_changed(world, &before, &refusal, ErrorKind::InvalidInput).await?;
    let rebooted = world.reboot().await?;
    ensure!(rebooted == running, "after the refusal {rebooted:?} runs");
    Ok(())
}
