//! Layers that mean harm: each is refused, or does none.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{has, next_image, reboot_into, stage, upgrade, whole_entries},
};
use crate::{
    suite::{
        Case, CaseResult, Channel, Demand, Filler, Property, TestImage, Trouble, UpgradeMode, Upgraded,
        hostile::{self, ESCAPE, Hostile, Outside},
    },
    system::KernelFormat,
};

/// Enough for what an ordinary image adds.
const INODES: u64 = 1000;
const FILES: u64 = 2 * INODES;
/// How long it may take until the room of what was refused is there again, and between two looks.
const ROOM_BACK: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(50);

pub(super) const CASES: &[Case] = &[
    case!(
        "hostile::a_layer_is_refused_or_does_no_harm",
        ["BW-302", "BW-314"],
        // A UKI is sealed to the tree, which a layer that is taken would change.
        [
            Demand::Tier(Property::AnyLayers),
            Demand::Tier(Property::Fingerprints),
            Demand::Format(KernelFormat::Split)
        ],
        Own,
        any_layer
    ),
    case!(
        "hostile::folders_that_no_layer_has_are_made_for_the_files_in_them",
        ["BW-320"],
        [Demand::Tier(Property::AnyLayers), Demand::Format(KernelFormat::Split)],
        Running,
        folders_left_out
    ),
    case!(
        "hostile::whiteouts_hide_nothing_of_their_own_layer_wherever_they_stand_in_it",
        ["BW-322"],
        [Demand::Tier(Property::AnyLayers), Demand::Format(KernelFormat::Split)],
        Running,
        late_whiteouts
    ),
    case!(
        "hostile::attributes_of_overlayfs_in_a_layer_change_nothing_that_is_read",
        ["BW-325"],
        [Demand::Tier(Property::AnyLayers), Demand::Format(KernelFormat::Split)],
        Running,
        overlay_attributes
    ),
    case!(
        "hostile::an_image_that_is_larger_than_the_disk_is_refused_and_gone",
        ["BW-114", "BW-903"],
        [Demand::Tier(Property::AnyLayers), Demand::Format(KernelFormat::Split)],
        Own,
        too_large
    ),
    case!(
        "hostile::an_image_of_more_files_than_the_disk_has_inodes_runs_whole_or_is_refused_and_gone",
        ["BW-315", "BW-903"],
        [
            Demand::Tier(Property::AnyLayers),
            Demand::Tier(Property::FullRoot),
            Demand::Format(KernelFormat::Split)
        ],
        Own,
        too_many_files
    ),
];

async fn any_layer(world: &mut dyn World) -> CaseResult {
    let outside = Outside::plant()?;
    let before = outside.fingerprint()?;
    for layer in hostile::all(&outside) {
        let what = layer.what;
        one(world, layer).await.with_context(|| what)?;
        before.unchanged(&outside.fingerprint()?, what)?;
    }
    nothing_escaped(world).await?;
    upgrade(world).await.map(drop)
}

async fn one(world: &mut dyn World, Hostile { tar, .. }: Hostile) -> CaseResult {
    let before = what_counts(world).await?;
    let image = next_image(world).layer(tar);
    world.publish(Channel::MAIN, &image).await?;
    match world.upgrade(UpgradeMode::Stage).await {
        Ok(outcome) => ensure!(outcome == Upgraded::Staged, "an upgrade ended as {outcome:?}"),
        Err(Trouble::Refused(refusal)) => {
            let kind = refusal.kind;
            ensure!(kind == ErrorKind::InvalidInput, "refused as {kind}: {}", refusal.text);
            let after = what_counts(world).await?;
            ensure!(after == before, "it was refused, and something changed: {before:?} {after:?}");
        }
        Err(other) => return Err(other.into()),
    }
    Ok(())
}

/// What runs, what is to run, and the way back. A clean-up may take what was staged before that.
async fn what_counts(world: &mut dyn World) -> anyhow::Result<Vec<Option<String>>> {
    let status = world.status().await?;
    let shown = [status.booted, status.staged, status.rollback];
    Ok(shown.into_iter().map(|shown| shown.map(|shown| shown.id)).chain([status.default]).collect())
}

/// Neither anywhere on the machine's disks nor on this machine.
async fn nothing_escaped(world: &mut dyn World) -> CaseResult {
    let all = world.fingerprint().await?;
    let found: Vec<_> = all.0.keys().filter(|name| name.contains(ESCAPE)).collect();
    ensure!(found.is_empty(), "written outside of the tree: {found:?}");
    for folder in ["/", "/tmp", "/dev/shm", "."] {
        let path = std::path::Path::new(folder).join(ESCAPE);
        ensure!(path.symlink_metadata().is_err(), "{} was written", path.display());
    }
    Ok(())
}

/// Some programs that make images write no entries for folders.
async fn folders_left_out(world: &mut dyn World) -> CaseResult {
    let image = next_image(world).layer(hostile::no_folders());
    stage(world, &image).await?;
    reboot_into(world, image.version).await?;
    has(world, hostile::IN_NO_FOLDER, Some("x"), "its folder is in no layer").await
}

async fn late_whiteouts(world: &mut dyn World) -> CaseResult {
    let lower = next_image(world).with(hostile::WHITED_OUT, "lower").with(hostile::BELOW_OPAQUE, "lower");
    let image = lower.layer(hostile::late_whiteouts());
    stage(world, &image).await?;
    reboot_into(world, image.version).await?;
    has(world, hostile::WHITED_OUT, Some("upper"), "its whiteout is about lower layers").await?;
    has(world, hostile::IN_OPAQUE, Some("upper"), "an opaque folder has what its own layer has").await?;
    has(world, hostile::BELOW_OPAQUE, None, "an opaque folder hides what is below").await
}

/// A running system may be an overlay, with such attributes of its own: those of a layer mean nothing in it.
async fn overlay_attributes(world: &mut dyn World) -> CaseResult {
    let image = next_image(world).with(hostile::BELOW_ATTRIBUTES, "lower");
    let image = image.layer(hostile::overlay_attributes());
    stage(world, &image).await?;
    reboot_into(world, image.version).await?;
    for (path, content) in hostile::with_attributes() {
        has(world, &path, Some(&content), "its layer says so, whatever its attributes").await?;
    }
    has(world, hostile::BELOW_ATTRIBUTES, Some("lower"), "only a whiteout hides what is below").await
}

/// A few hundred kilobytes that unpack to more than there is room for.
async fn too_large(world: &mut dyn World) -> CaseResult {
    let image = next_image(world).layer(hostile::bomb());
    ensure!(!fits(world, &image).await?, "it was staged");
    gone(world).await
}

/// A backend that keeps a tree in one file has room for any number of them.
async fn too_many_files(world: &mut dyn World) -> CaseResult {
    world.fill_root(Filler::Inodes, INODES).await?;
    let image = next_image(world).layer(hostile::many_files(FILES));
    if !fits(world, &image).await? {
        return gone(world).await;
    }
    reboot_into(world, image.version).await?;
    for number in 0..FILES {
        let text = hostile::one_of_many(number);
        has(world, &hostile::name_of_many(number), Some(&text), "it was staged, so it has to be there")
            .await?;
    }
    Ok(())
}

/// Whether it was staged. A refusal has to say that there is no room.
async fn fits(world: &mut dyn World, image: &TestImage) -> anyhow::Result<bool> {
    world.publish(Channel::MAIN, image).await?;
    match world.upgrade(UpgradeMode::Stage).await {
        Err(Trouble::Refused(refusal)) => {
            let kind = refusal.kind;
            ensure!(kind == ErrorKind::NoSpace, "refused as {kind}: {}", refusal.text);
            Ok(false)
        }
        outcome => {
            let outcome = outcome?;
            ensure!(outcome == Upgraded::Staged, "an upgrade ended as {outcome:?}");
            Ok(true)
        }
    }
}

/// What was refused takes no room.
async fn gone(world: &mut dyn World) -> CaseResult {
    whole_entries(world).await?;
    fits_soon(world).await.context("the next image, which fits")
}

/// A program that is being started holds what was deleted open for a moment, until it is on its own.
async fn fits_soon(world: &mut dyn World) -> CaseResult {
    let deadline = Instant::now() + ROOM_BACK;
    loop {
        let image = next_image(world);
        if fits(world, &image).await? {
            return reboot_into(world, image.version).await.map(drop);
        }
        ensure!(Instant::now() < deadline, "there is no room for it yet");
        tokio::time::sleep(AGAIN).await;
    }
}
