//! The three-way merge of `/etc` across an upgrade.

use super::{
    World, case,
    steps::{has, next_image, reboot_into, shows, stage, upgrade_to, with_way_back},
};
use anyhow::ensure;

use crate::suite::{Case, CaseResult, Demand, Property};

pub(super) const CASES: &[Case] = &[
    case!("etc_merge::new_defaults_arrive", ["BW-201"], [], Running, defaults_arrive),
    case!("etc_merge::local_changes_survive", ["BW-202"], [], Running, local_changes_survive),
    case!("etc_merge::changes_made_after_staging_survive", ["BW-202"], [], Running, late_changes_survive),
    case!(
        "etc_merge::the_local_side_of_a_conflict_wins_and_is_reported",
        ["BW-203", "BW-804"],
        [],
        Running,
        conflict
    ),
    case!("etc_merge::a_rollback_has_the_old_etc_back", ["BW-205"], [], Running, rollback_has_its_own),
    case!(
        "etc_merge::an_immutable_file_stays_one_and_goes_with_its_deployment",
        ["BW-204", "BW-308"],
        [Demand::Tier(Property::ImmutableFiles)],
        Running,
        immutable_file
    ),
];

async fn defaults_arrive(world: &mut dyn World) -> CaseResult {
    let first = next_image(world).with("etc/merge/leaves", "1").with("etc/merge/changes", "1");
    upgrade_to(world, &first).await?;
    let second = next_image(world).with("etc/merge/changes", "2").with("etc/merge/comes", "2");
    upgrade_to(world, &second).await?;
    has(world, "etc/merge/changes", Some("2"), "an unchanged default becomes the new one").await?;
    has(world, "etc/merge/comes", Some("2"), "a new default arrives").await?;
    has(world, "etc/merge/leaves", None, "a default that the image dropped goes").await
}

async fn local_changes_survive(world: &mut dyn World) -> CaseResult {
    let defaults = |image: crate::suite::TestImage| {
        image.with("etc/merge/edited", "default").with("etc/merge/deleted", "default")
    };
    let first = defaults(next_image(world));
    upgrade_to(world, &first).await?;
    world.write("etc/merge/edited", "local").await?;
    world.write("etc/merge/added/deep/file", "local").await?;
    world.remove("etc/merge/deleted").await?;
    for _ in 0..2 {
        let image = defaults(next_image(world));
        upgrade_to(world, &image).await?;
        has(world, "etc/merge/edited", Some("local"), "a local change survives").await?;
        has(world, "etc/merge/added/deep/file", Some("local"), "a local addition survives").await?;
        has(world, "etc/merge/deleted", None, "a local deletion survives").await?;
    }
    world.remove("etc/merge/added/deep/file").await?;
    Ok(())
}

async fn late_changes_survive(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    stage(world, &image).await?;
    world.write("etc/merge/late", "late").await?;
    reboot_into(world, image.version).await?;
    has(world, "etc/merge/late", Some("late"), "a change made after staging survives").await?;
    world.remove("etc/merge/late").await?;
    Ok(())
}

async fn conflict(world: &mut dyn World) -> CaseResult {
    let first = next_image(world).with("etc/merge/both", "old default");
    upgrade_to(world, &first).await?;
    world.write("etc/merge/both", "local").await?;
    let second = next_image(world).with("etc/merge/both", "new default");
    upgrade_to(world, &second).await?;
    has(world, "etc/merge/both", Some("local"), "the local side wins").await?;
    let status = world.status().await?;
    let reported = status.booted.as_ref().is_some_and(|shown| {
        shown.etc_conflicts.iter().any(|path| path.trim_start_matches("/etc/") == "merge/both")
    });
    shows(&status, reported, "etc/merge/both is in conflict")?;
    world.write("etc/merge/both", "new default").await?;
    Ok(())
}

async fn immutable_file(world: &mut dyn World) -> CaseResult {
    const FILE: &str = "etc/merge/fixed";
    let first = world.running().await?.version;
    world.write(FILE, "local").await?;
    world.set_immutable(FILE, true).await?;
    for _ in 0..2 {
        let image = next_image(world);
        upgrade_to(world, &image).await?;
    }
    has(world, FILE, Some("local"), "an immutable file survives").await?;
    ensure!(world.write(FILE, "changed").await.is_err(), "an immutable file can be changed after an upgrade");
    let status = world.status().await?;
    ensure!(status.of(first).is_none(), "a deployment was never removed: {:?}", status.versions());
    world.set_immutable(FILE, false).await?;
    Ok(world.remove(FILE).await?)
}

async fn rollback_has_its_own(world: &mut dyn World) -> CaseResult {
    world.write("etc/merge/shared", "before").await?;
    let (before, now) = with_way_back(world).await?;
    world.write("etc/merge/shared", "after").await?;
    world.rollback().await?;
    reboot_into(world, before).await?;
    has(world, "etc/merge/shared", Some("before"), "the old deployment has its /etc back").await?;
    has(world, "etc/marker/changing", Some(&before.to_string()), "and its defaults").await?;
    world.rollback().await?;
    reboot_into(world, now).await?;
    has(world, "etc/merge/shared", Some("after"), "so has the new one").await?;
    world.remove("etc/merge/shared").await?;
    Ok(())
}
