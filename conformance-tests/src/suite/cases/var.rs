//! `/var`: seeded once, shared by all deployments.

use anyhow::ensure;

use super::{
    World, case,
    steps::{has, install_image, next_image, reboot_into, upgrade, with_way_back},
};
use crate::suite::{Case, CaseResult, Demand, InstallOptions, Property};

pub(super) const CASES: &[Case] = &[
    case!("var::is_seeded_by_the_install_and_not_by_upgrades", ["BW-310"], [], Blank, is_seeded_once),
    case!(
        "var::may_be_a_file_system_of_its_own",
        ["BW-607"],
        [Demand::Tier(Property::Fstab)],
        Running,
        of_its_own
    ),
    case!("var::is_shared_by_all_deployments", ["BW-310", "BW-604"], [], Running, is_shared),
];

async fn is_seeded_once(world: &mut dyn World) -> CaseResult {
    let image = next_image(world).with("var/lib/marker/only-first", "seed");
    let first = install_image(world, &image, &InstallOptions::default()).await?.version.to_string();
    has(world, "var/lib/marker/seeded", Some(&first), "the install seeds /var").await?;
    world.remove("var/lib/marker/only-first").await?;
    let running = upgrade(world).await?;
    ensure!(running.version != image.version, "the upgrade did not take");
    has(world, "var/lib/marker/seeded", Some(&first), "an upgrade leaves /var alone").await?;
    has(world, "var/lib/marker/only-first", None, "an upgrade does not bring back what was removed").await
}

async fn is_shared(world: &mut dyn World) -> CaseResult {
    world.write("var/lib/shared", "one").await?;
    let (before, now) = with_way_back(world).await?;
    has(world, "var/lib/shared", Some("one"), "/var is there after an upgrade").await?;
    world.write("var/lib/shared", "two").await?;
    world.rollback().await?;
    reboot_into(world, before).await?;
    has(world, "var/lib/shared", Some("two"), "a rollback does not roll /var back").await?;
    world.rollback().await?;
    reboot_into(world, now).await?;
    world.remove("var/lib/shared").await?;
    Ok(())
}

/// A folder of `/etc` takes the part of the partition: nothing else is writable and not in `/var`.
async fn of_its_own(world: &mut dyn World) -> CaseResult {
    let now = world.running().await?.version;
    world.write("var/lib/whose", "everybody's").await?;
    world.write("etc/own-var/lib/whose", "its own").await?;
    world.write("etc/fstab", "/etc/own-var /var none bind 0 0\n").await?;
    reboot_into(world, now).await?;
    has(world, "var/lib/whose", Some("its own"), "/var is what /etc/fstab names").await?;
    world.write("etc/fstab", "").await?;
    reboot_into(world, now).await?;
    has(world, "var/lib/whose", Some("everybody's"), "and else what all deployments share").await?;
    world.remove("var/lib/whose").await?;
    world.remove("etc/own-var/lib/whose").await?;
    Ok(())
}
