//! Disks that are laid out in other ways than images ask for: each is installed, upgraded and rolled back.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    rollback::roll_back_to,
    steps::{fsck_finds_nothing, install_image, next_image, shows, upgrade_to},
};
use crate::{
    suite::{Case, CaseResult, Demand, InstallOptions, Property, TestImage},
    system::KernelFormat,
};

const LAYOUTS: Demand = Demand::Tier(Property::DiskLayouts);
/// A UKI may demand verification.
const SPLIT: Demand = Demand::Format(KernelFormat::Split);

pub(super) const CASES: &[Case] = &[
    case!(
        "disks::a_boot_partition_with_a_journal",
        ["BW-101", "BW-102", "BW-804"],
        [LAYOUTS, Demand::BootPartition("xfs")],
        Blank,
        boot_partition
    ),
    case!(
        "disks::a_btrfs_root_that_is_not_verified",
        ["BW-101", "BW-102", "BW-808"],
        [LAYOUTS, SPLIT],
        Blank,
        btrfs_root
    ),
    case!(
        "disks::an_xfs_root_that_is_not_verified",
        ["BW-101", "BW-102", "BW-808"],
        [LAYOUTS, SPLIT],
        Blank,
        xfs_root
    ),
];

/// The loader reads it as it is on the disk: it replays no journal.
async fn boot_partition(world: &mut dyn World) -> CaseResult {
    let options = InstallOptions { boot_filesystem: Some("xfs"), ..InstallOptions::default() };
    there_and_back(world, &options).await?;
    is_mounted(world, "/boot", "xfs").await?;
    fsck_finds_nothing(world).await
}

async fn btrfs_root(world: &mut dyn World) -> CaseResult {
    unverified_root(world, "btrfs").await
}

async fn xfs_root(world: &mut dyn World) -> CaseResult {
    unverified_root(world, "xfs").await
}

async fn unverified_root(world: &mut dyn World, filesystem: &'static str) -> CaseResult {
    let options = InstallOptions { unverified_filesystem: Some(filesystem), ..InstallOptions::default() };
    there_and_back(world, &options).await?;
    is_mounted(world, "/sysroot", filesystem).await?;
    let status = world.status().await?;
    let verified = status.booted.as_ref().map(|booted| booted.verified);
    shows(&status, verified == Some(false), "reads are not verified")
}

async fn there_and_back(world: &mut dyn World, options: &InstallOptions) -> CaseResult {
    let image = next_image_with_efi(world);
    let before = install_image(world, &image, options).await?.version;
    let newer = next_image_with_efi(world);
    let now = upgrade_to(world, &newer).await?.version;
    roll_back_to(world, before, now).await
}

/// With a boot partition, systemd mounts that at `/boot`, and the ESP at `/efi`, which an image must have then (systemd-gpt-auto-generator(8)).
fn next_image_with_efi(world: &mut dyn World) -> TestImage {
    next_image(world).with("efi/here", "")
}

async fn is_mounted(world: &mut dyn World, place: &str, filesystem: &str) -> CaseResult {
    // Not mounted yet, perhaps, if it is mounted on demand.
    world.read(&format!("{}/here", place.trim_start_matches('/'))).await?;
    let mounts = world.read("proc/mounts").await?.context("a list of what is mounted")?;
    let found =
        mounts.lines().map(|line| line.split(' ').skip(1).take(2)).any(|line| line.eq([place, filesystem]));
    ensure!(found, "{place} is no {filesystem}:\n{mounts}");
    Ok(())
}
