//! The next version of the image.

use anyhow::ensure;

use super::{
    World, case,
    steps::{entries_if_seen, next_image, reboot_into, shows, stage, upgrade, upgrade_to, with_way_back},
};
use crate::suite::{Case, CaseResult, TestImage, UpgradeMode, Upgraded, is_version};

pub(super) const CASES: &[Case] = &[
    case!("upgrade::is_staged_and_boots_after_the_shutdown", ["BW-101"], [], Running, is_staged),
    case!("upgrade::what_runs_already_is_not_staged_again", ["BW-107"], [], Running, not_again),
    case!(
        "upgrade::an_image_that_was_built_again_is_taken_once",
        ["BW-101", "BW-107"],
        [],
        Running,
        built_again
    ),
    case!("upgrade::a_tree_that_is_the_way_back_comes_again", ["BW-101", "BW-107"], [], Running, comes_again),
    case!("upgrade::its_files_are_those_of_the_image", ["BW-601"], [], Running, files_of_the_image),
];

async fn is_staged(world: &mut dyn World) -> CaseResult {
    let before = world.running().await?;
    let image = next_image(world);
    stage(world, &image).await?;
    ensure!(world.running().await? == before, "something else runs right after staging");
    let status = world.status().await?;
    shows(&status, is_version(status.staged.as_ref(), image.version), "the new version is staged")?;
    shows(&status, status.default.as_ref() == Some(&before.id), "the default is still what runs")?;
    reboot_into(world, image.version).await?;
    let status = world.status().await?;
    shows(&status, status.staged.is_none(), "nothing is staged any more")?;
    shows(&status, is_version(status.rollback.as_ref(), before.version), "the way back is what ran before")
}

async fn not_again(world: &mut dyn World) -> CaseResult {
    upgrade(world).await?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::UpToDate, "an upgrade to what runs ended as {outcome:?}");
    let image = next_image(world);
    stage(world, &image).await?;
    let staged = world.status().await?.staged;
    stage(world, &image).await?;
    ensure!(world.status().await?.staged == staged, "a second upgrade replaced what is staged");
    reboot_into(world, image.version).await.map(drop)
}

/// Upgrades to an image whose tree is there already; afterwards it is what runs, and no other upgrade to it is needed.
async fn taken_once(world: &mut dyn World, image: &TestImage) -> CaseResult {
    upgrade_to(world, image).await?;
    let status = world.status().await?;
    let booted = status.booted.as_ref().map(|booted| booted.version.as_str());
    shows(&status, booted == Some(image.label.as_str()), "the image that was built again runs")?;
    shows(&status, status.staged.is_none(), "nothing is staged any more")?;
    let outcome = world.upgrade(UpgradeMode::Stage).await?;
    ensure!(outcome == Upgraded::UpToDate, "an upgrade to what runs ended as {outcome:?}");
    entries_if_seen(world).await?;
    reboot_into(world, image.version).await?;
    world.gc().await?;
    entries_if_seen(world).await.map(drop)
}

async fn built_again(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    let (before, _) = with_way_back(world).await?;
    upgrade_to(world, &image).await?;
    taken_once(world, &image.built_again()).await?;
    world.rollback().await?;
    let back = world.reboot().await?.version;
    ensure!(back != before, "{back} is older than the way back");
    upgrade(world).await.map(drop)
}

async fn comes_again(world: &mut dyn World) -> CaseResult {
    let first = next_image(world);
    upgrade_to(world, &first).await?;
    let second = upgrade(world).await?;
    taken_once(world, &first.built_again()).await?;
    world.rollback().await?;
    reboot_into(world, second.version).await?;
    upgrade(world).await.map(drop)
}

async fn files_of_the_image(world: &mut dyn World) -> CaseResult {
    let (added, kept) = ("usr/share/marker/added", "usr/share/marker/kept");
    let first = next_image(world).with(added, "1").with(kept, "same");
    super::steps::upgrade_to(world, &first).await?;
    ensure!(world.read(added).await?.as_deref() == Some("1"), "a file of the image is missing");
    let second = next_image(world).with(kept, "same");
    super::steps::upgrade_to(world, &second).await?;
    ensure!(world.read(added).await?.is_none(), "a file that the image no longer has is still there");
    ensure!(world.read(kept).await?.as_deref() == Some("same"), "a file that did not change is gone");
    let version = world.read(TestImage::VERSION_FILE).await?;
    ensure!(version == Some(second.version.to_string()), "the version file says {version:?}");
    Ok(())
}
