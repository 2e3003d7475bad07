//! Kernels: their arguments, their format, and which of them are new.

use anyhow::ensure;

use super::{
    World, case,
    steps::{entries_if_seen, install, next_image, reboot_into, upgrade, upgrade_to, with_way_back},
};
use crate::{
    suite::{Case, CaseResult, Demand, InstallOptions},
    system::KernelFormat,
};

pub(super) const CASES: &[Case] = &[
    case!(
        "kargs::of_the_administrator_are_kept_across_upgrades",
        ["BW-110"],
        [Demand::Format(KernelFormat::Split)],
        Blank,
        administrators_are_kept
    ),
    case!(
        "kargs::of_the_administrator_reach_a_sealed_uki",
        ["BW-110", "BW-412"],
        [Demand::Format(KernelFormat::Unified), Demand::Loader("addons")],
        Blank,
        administrators_are_kept
    ),
    case!("kargs::of_the_image_change_with_the_image", ["BW-501"], [], Running, images_change),
    case!(
        "kernel_format::changes_in_an_upgrade_and_back",
        ["BW-101"],
        [Demand::BothFormats],
        Running,
        format_changes
    ),
    case!("kernel::an_unchanged_one_boots_the_new_tree", ["BW-101", "BW-305"], [], Running, unchanged_kernel),
    case!("kernel::a_new_one_alone_is_a_new_deployment", ["BW-130", "BW-305"], [], Running, only_the_kernel),
    case!("kernel::another_version_boots", ["BW-101"], [], Running, another_version),
];

fn in_effect(cmdline: &str, arg: &str) -> bool {
    cmdline.split_whitespace().any(|word| word == arg)
}

async fn administrators_are_kept(world: &mut dyn World) -> CaseResult {
    let options = InstallOptions { kargs: vec!["suite.admin=1".to_owned()], ..InstallOptions::default() };
    install(world, &options).await?;
    for _ in 0..2 {
        let cmdline = world.cmdline().await?;
        ensure!(in_effect(&cmdline, "suite.admin=1"), "the argument is not in effect: {cmdline}");
        upgrade(world).await?;
    }
    Ok(())
}

async fn images_change(world: &mut dyn World) -> CaseResult {
    for kargs in [["suite.image=1", "suite.extra"], ["suite.image=2", "suite.other"]] {
        let image = next_image(world).kargs(&kargs);
        upgrade_to(world, &image).await?;
        let cmdline = world.cmdline().await?;
        for arg in kargs {
            ensure!(in_effect(&cmdline, arg), "{arg} is not in effect: {cmdline}");
        }
    }
    upgrade(world).await?;
    let cmdline = world.cmdline().await?;
    ensure!(!cmdline.contains("suite."), "arguments of an older image are still in effect: {cmdline}");
    Ok(())
}

async fn format_changes(world: &mut dyn World) -> CaseResult {
    let own = world.cell().format;
    let before = world.running().await?.version;
    let changed = next_image(world).format(own.other());
    upgrade_to(world, &changed).await?;
    entries_if_seen(world).await?;
    world.rollback().await?;
    reboot_into(world, before).await?;
    world.rollback().await?;
    reboot_into(world, changed.version).await?;
    let back = next_image(world).format(own);
    upgrade_to(world, &back).await?;
    entries_if_seen(world).await.map(drop)
}

async fn unchanged_kernel(world: &mut dyn World) -> CaseResult {
    let (before, now) = with_way_back(world).await?;
    for expected in [before, now] {
        world.rollback().await?;
        let running = reboot_into(world, expected).await?;
        ensure!(running.version == expected, "the tree of another deployment runs: {running:?}");
    }
    Ok(())
}

/// Digest of what the default entry loads, where this tier sees it.
pub(super) async fn default_kernel(world: &mut dyn World) -> anyhow::Result<Option<String>> {
    let entries = entries_if_seen(world).await?;
    // Where root arguments move, what is loaded changes with them.
    if world.demand(&Demand::Backend("predictable_root_args")).is_err() {
        return Ok(None);
    }
    Ok(entries.and_then(|entries| entries.first().map(|entry| entry.kernel_sha256.clone())))
}

async fn only_the_kernel(world: &mut dyn World) -> CaseResult {
    let first = next_image(world).kernel("one");
    let before = upgrade_to(world, &first).await?;
    let old = default_kernel(world).await?;
    let second = first.clone().kernel("two");
    super::steps::stage(world, &second).await?;
    let after = reboot_into(world, second.version).await?;
    ensure!(after.id != before.id, "another kernel is no other deployment: {}", after.id);
    let new = default_kernel(world).await?;
    ensure!(new.is_none() || new != old, "the old kernel is what boots");
    world.rollback().await?;
    let running = reboot_into(world, first.version).await?;
    ensure!(running.id == before.id, "{} runs, not the way back", running.id);
    let back = default_kernel(world).await?;
    ensure!(back == old, "the way back does not boot the old kernel");
    // Two deployments of one version: leave none of them as the way back.
    upgrade(world).await?;
    upgrade(world).await.map(drop)
}

async fn another_version(world: &mut dyn World) -> CaseResult {
    let mut image = next_image(world).kernel("newer");
    image.kernel_version = 2;
    upgrade_to(world, &image).await?;
    upgrade(world).await.map(drop)
}
