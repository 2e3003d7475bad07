//! What many cases do first.

use anyhow::{Context as _, ensure};
use bootwright_core::ErrorKind;

use crate::suite::{
    Channel, Demand, Fingerprint, InstallOptions, Property, Refusal, Running, SeenEntry, SystemStatus,
    TestImage, UpgradeMode, Upgraded, Version, World, is_version,
};

/// A good image of the next version, in the cell's kernel format. Not published yet.
pub fn next_image(world: &mut dyn World) -> TestImage {
    let version = world.next_version();
    TestImage::new(version, world.cell().format)
}

/// Installs the next version onto an empty disk and boots it: what [`crate::suite::Setting::Running`] starts from.
///
/// # Errors
/// If something else runs then.
pub async fn install(world: &mut dyn World, options: &InstallOptions) -> anyhow::Result<Running> {
    let image = next_image(world);
    install_image(world, &image, options).await
}

/// The same with this image.
///
/// # Errors
/// If something else runs then.
pub async fn install_image(
    world: &mut dyn World,
    image: &TestImage,
    options: &InstallOptions,
) -> anyhow::Result<Running> {
    world.publish(Channel::MAIN, image).await?;
    world.install(options).await.context("install")?;
    let running = world.power_on().await.context("first boot")?;
    ensure!(
        running.version == image.version,
        "{} runs after an install of {}",
        running.version,
        image.version
    );
    Ok(running)
}

/// Publishes an image and stages it.
///
/// # Errors
/// If it is not staged.
pub async fn stage(world: &mut dyn World, image: &TestImage) -> anyhow::Result<()> {
    world.publish(Channel::MAIN, image).await?;
    let outcome = world.upgrade(UpgradeMode::Stage).await.context("upgrade")?;
    ensure!(outcome == Upgraded::Staged, "an upgrade to {} ended as {outcome:?}", image.version);
    Ok(())
}

/// Publishes an image, stages it, and reboots into it.
///
/// # Errors
/// If it does not run then.
pub async fn upgrade_to(world: &mut dyn World, image: &TestImage) -> anyhow::Result<Running> {
    stage(world, image).await?;
    reboot_into(world, image.version).await
}

/// Upgrades to a good image of the next version.
///
/// # Errors
/// If it does not run then.
pub async fn upgrade(world: &mut dyn World) -> anyhow::Result<Running> {
    let image = next_image(world);
    upgrade_to(world, &image).await
}

/// Reboots, and checks what runs.
///
/// # Errors
/// If another version runs.
pub async fn reboot_into(world: &mut dyn World, version: Version) -> anyhow::Result<Running> {
    let running = world.reboot().await.context("reboot")?;
    ensure!(running.version == version, "{} runs after a reboot, {version} should", running.version);
    Ok(running)
}

/// Upgrades if need be, so that there is a way back; returns it and what runs.
///
/// # Errors
/// If an upgrade fails.
pub async fn with_way_back(world: &mut dyn World) -> anyhow::Result<(Version, Version)> {
    let before = world.running().await?.version;
    let now = upgrade(world).await?.version;
    let status = world.status().await?;
    ensure!(is_version(status.rollback.as_ref(), before), "{before} is not the way back: {status:#?}");
    Ok((before, now))
}

/// Boots an upgrade that nobody confirms; returns what it falls back to, and its image.
///
/// # Errors
/// If an upgrade fails.
pub async fn into_a_trial(world: &mut dyn World) -> anyhow::Result<(Version, TestImage)> {
    let (_, now) = with_way_back(world).await?;
    let tried = next_image(world);
    stage(world, &tried).await?;
    world.reboot_unconfirmed().await?;
    Ok((now, tried))
}

/// Checks one statement about the status.
///
/// # Errors
/// If it is not true.
pub fn shows(status: &SystemStatus, holds: bool, what: &str) -> anyhow::Result<()> {
    ensure!(holds, "status should show that {what}, but shows {status:#?}");
    Ok(())
}

/// Checks that a refusal is of this kind, and that nothing on the disk is different from `before`.
///
/// # Errors
/// What is different.
pub async fn nothing_changed(
    world: &mut dyn World,
    before: &Fingerprint,
    refusal: &Refusal,
    kind: ErrorKind,
) -> anyhow::Result<()> {
    ensure!(refusal.kind == kind, "refused as {}, not as {kind}: {}", refusal.kind, refusal.text);
    before.unchanged(&world.fingerprint().await?, &format!("what was refused ({})", refusal.text))
}

/// Checks that a check of the whole store finds nothing wrong.
///
/// # Errors
/// What is wrong.
pub async fn fsck_finds_nothing(world: &mut dyn World) -> anyhow::Result<()> {
    let findings = world.fsck().await?;
    ensure!(findings.problems.is_empty(), "fsck complains: {findings:#?}");
    Ok(())
}

/// Checks a file of the running system.
///
/// # Errors
/// If it has another text, or is there although it should not be.
pub async fn has(world: &mut dyn World, path: &str, text: Option<&str>, why: &str) -> anyhow::Result<()> {
    let found = world.read(path).await?;
    ensure!(found.as_deref() == text, "{path}: {why}: {text:?} is right, {found:?} was found");
    Ok(())
}

/// Adds an entry of another system and returns it, as the menu shows it, where the tier has such entries and can read menus.
///
/// # Errors
/// If it cannot be added, or is not in the menu then.
pub async fn add_foreign(world: &mut dyn World) -> anyhow::Result<Option<SeenEntry>> {
    let demands = [Property::ForeignEntries, Property::BootMenus].map(Demand::Tier);
    if demands.iter().any(|demand| world.demand(demand).is_err()) {
        return Ok(None);
    }
    let name = world.add_foreign_entry().await?;
    let added = world.entries().await?.into_iter().find(|entry| entry.name == name);
    Ok(Some(added.with_context(|| format!("the foreign entry {name} is not in the menu"))?))
}

/// Checks that the entry of another system, if there is one, is among these as it was.
///
/// # Errors
/// If it is gone or changed.
pub fn foreign_stays(foreign: Option<&SeenEntry>, all: &[SeenEntry]) -> anyhow::Result<()> {
    let stays = foreign.is_none_or(|foreign| all.contains(foreign));
    ensure!(stays, "the foreign entry {foreign:?} is gone or changed: {all:#?}");
    Ok(())
}

/// [`whole_entries`] where the tier can read boot files; elsewhere the firmware is the judge of them.
///
/// # Errors
/// What is missing.
pub async fn entries_if_seen(world: &mut dyn World) -> anyhow::Result<Option<Vec<SeenEntry>>> {
    if world.demand(&Demand::Tier(Property::BootMenus)).is_err() {
        return Ok(None);
    }
    whole_entries(world).await.map(Some)
}

/// Checks that no entry of ours lacks anything, and returns them, the default first.
///
/// # Errors
/// What is missing.
pub async fn whole_entries(world: &mut dyn World) -> anyhow::Result<Vec<SeenEntry>> {
    let mut ours = world.entries().await?;
    ours.retain(|entry| !entry.foreign);
    all_whole(&ours)?;
    Ok(ours)
}

/// Checks that there is an entry of ours, and that none of these lacks anything.
///
/// # Errors
/// What is missing.
pub fn all_whole(entries: &[SeenEntry]) -> anyhow::Result<()> {
    ensure!(entries.iter().any(|entry| !entry.foreign), "there is no boot entry: {entries:#?}");
    let broken: Vec<_> = entries.iter().filter(|entry| entry.problem.is_some()).collect();
    ensure!(broken.is_empty(), "published entries are not whole: {broken:#?}");
    Ok(())
}
