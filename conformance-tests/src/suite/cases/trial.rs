//! New deployments on trial: a good boot makes them stay, bad ones fall back.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    steps::{
        entries_if_seen, into_a_trial, next_image, reboot_into, shows, stage, upgrade, upgrade_to,
        whole_entries, with_way_back,
    },
};
use crate::suite::{Case, CaseResult, Demand, Health, Property, UpgradeMode, Upgraded, Version, is_version};

/// Why an image was left that never came up: however a bootloader counts, it is started so often.
pub(super) const ALL_TRIES: &str = "did not reach boot-complete.target in 3 tries";

/// More than any bootloader gives.
const MANY_TRIES: u32 = 10;

const FAILING: [Demand; 2] = [Demand::Loader("boot_counting"), Demand::Tier(Property::FailingBoots)];

pub(super) const CASES: &[Case] = &[
    case!(
        "trial::what_never_comes_up_falls_back_by_itself",
        ["BW-112", "BW-409", "BW-414", "BW-804"],
        FAILING,
        Running,
        falls_back
    ),
    case!("trial::a_rollback_never_leads_to_what_failed", ["BW-122"], FAILING, Running, no_rollback_to_it),
    case!("trial::the_next_upgrade_after_a_fallback_works", ["BW-409"], FAILING, Running, upgrade_after_it),
    case!(
        "trial::what_failed_is_remembered_and_not_staged_again",
        ["BW-123", "BW-124", "BW-126", "BW-421"],
        FAILING,
        Running,
        not_staged_again
    ),
    case!(
        "trial::another_kernel_of_the_same_tree_that_fails_is_left",
        ["BW-112", "BW-130"],
        FAILING,
        Running,
        kernel_fails
    ),
    case!("trial::what_failed_is_tried_again_on_demand", ["BW-123", "BW-124"], FAILING, Running, tried_again),
    case!(
        "trial::a_pinned_one_that_failed_starts_again_with_all_its_tries",
        ["BW-112", "BW-124"],
        [FAILING[0], FAILING[1], Demand::Tier(Property::UnconfirmedBoots)],
        Running,
        pinned_starts_again
    ),
    case!(
        "trial::a_confirmed_boot_is_no_longer_counted",
        ["BW-112", "BW-409"],
        [Demand::Loader("boot_counting")],
        Running,
        confirmed_stays
    ),
    case!(
        "trial::a_clean_up_meanwhile_leaves_what_it_falls_back_to",
        ["BW-105", "BW-318"],
        [Demand::Loader("boot_counting"), Demand::Tier(Property::UnconfirmedBoots)],
        Running,
        clean_up_meanwhile
    ),
    case!(
        "trial::an_image_that_is_built_again_meanwhile_stays_on_trial",
        ["BW-112", "BW-421"],
        [Demand::Loader("boot_counting"), Demand::Tier(Property::UnconfirmedBoots)],
        Running,
        built_again_meanwhile
    ),
    case!(
        "trial::one_that_fails_after_one_that_was_never_confirmed_is_left",
        ["BW-112", "BW-123", "BW-409"],
        [FAILING[0], FAILING[1], Demand::Tier(Property::UnconfirmedBoots)],
        Running,
        fails_after_unconfirmed
    ),
    case!(
        "trial::a_boot_on_trial_is_no_queued_rollback",
        ["BW-122"],
        [Demand::Loader("boot_counting"), Demand::Tier(Property::UnconfirmedBoots)],
        Running,
        on_trial
    ),
];

/// Upgrades to an image that never comes up; returns its version and the one that must run again.
pub(super) async fn fail(world: &mut dyn World) -> anyhow::Result<(Version, Version)> {
    let (_, now) = with_way_back(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    let running = world.reboot().await.context("fall back")?;
    ensure!(running.version == now, "{} runs after a failed trial, {now} should", running.version);
    Ok((bad.version, now))
}

async fn falls_back(world: &mut dyn World) -> CaseResult {
    let (bad, now) = fail(world).await?;
    let status = world.status().await?;
    let exhausted = status.of(bad).is_none_or(|shown| shown.tries_left == Some(0));
    shows(&status, exhausted, "the failed deployment has no tries left")?;
    reboot_into(world, now).await?;
    upgrade(world).await.map(drop)
}

async fn no_rollback_to_it(world: &mut dyn World) -> CaseResult {
    let (bad, _) = fail(world).await?;
    let status = world.status().await?;
    shows(&status, !is_version(status.rollback.as_ref(), bad), "a rollback does not lead to it")?;
    world.rollback().await?;
    let running = world.reboot().await?;
    ensure!(running.version != bad, "the failed deployment runs");
    upgrade(world).await.map(drop)
}

async fn upgrade_after_it(world: &mut dyn World) -> CaseResult {
    let (bad, now) = fail(world).await?;
    upgrade(world).await?;
    let status = world.status().await?;
    shows(&status, is_version(status.rollback.as_ref(), now), "the last good one is the way back")?;
    shows(&status, status.of(bad).is_none(), "the failed one is gone")
}

/// Checks that a failed version is remembered with its reason, once.
async fn remembered(world: &mut dyn World, bad: Version) -> CaseResult {
    let status = world.status().await?;
    let reason = status.left(bad).unwrap_or_default();
    shows(&status, reason.contains(ALL_TRIES), "the failed image was left, and after how many tries")?;
    let label = bad.to_string();
    let times = status.abandoned.iter().filter(|left| left.version == label).count();
    shows(&status, times == 1, "it was left once")
}

async fn not_staged_again(world: &mut dyn World) -> CaseResult {
    let (bad, now) = fail(world).await?;
    remembered(world, bad).await?;
    for mode in [UpgradeMode::Check, UpgradeMode::DownloadOnly, UpgradeMode::Stage] {
        let outcome = world.upgrade(mode).await?;
        ensure!(outcome == Upgraded::Abandoned, "an upgrade to what failed ended as {outcome:?}");
    }
    shows(&world.status().await?, world.status().await?.staged.is_none(), "nothing is staged")?;
    reboot_into(world, now).await?;
    world.gc().await?;
    remembered(world, bad).await?;
    upgrade(world).await?;
    let status = world.status().await?;
    shows(&status, status.abandoned.is_empty(), "what failed before the new one proved good is history")
}

/// What runs is told apart from what failed although both have one tree, and one root argument.
async fn kernel_fails(world: &mut dyn World) -> CaseResult {
    let good = next_image(world);
    upgrade_to(world, &good).await?;
    let before = world.status().await?.booted.context("a booted deployment")?.id;
    stage(world, &good.kernel("two").health(Health::KernelFails)).await?;
    for _ in 0..2 {
        world.reboot().await.context("fall back")?;
        let status = world.status().await?;
        let same = status.booted.as_ref().is_some_and(|booted| booted.id == before);
        shows(&status, same, "what ran before runs again")?;
        shows(&status, status.abandoned.len() == 1, "the failed image was left")?;
    }
    upgrade(world).await.map(drop)
}

async fn tried_again(world: &mut dyn World) -> CaseResult {
    let (bad, now) = fail(world).await?;
    let outcome = world.upgrade(UpgradeMode::Retry).await?;
    ensure!(outcome == Upgraded::Staged, "asked for again, the upgrade ended as {outcome:?}");
    let status = world.status().await?;
    shows(&status, status.left(bad).is_none(), "what is asked for again is not left")?;
    reboot_into(world, now).await?;
    remembered(world, bad).await?;
    upgrade(world).await.map(drop)
}

async fn pinned_starts_again(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    let id = world.status().await?.staged.context("a staged deployment")?.id;
    world.set_pinned(&id, true).await?;
    reboot_into(world, now).await?;
    remembered(world, bad.version).await?;
    world.upgrade(UpgradeMode::Retry).await?;
    let running = world.reboot_unconfirmed().await?;
    ensure!(running.version == bad.version, "{} runs, what was asked for again should", running.version);
    let running = world.reboot().await?;
    ensure!(running.version == now, "{} runs after it failed again, {now} should", running.version);
    remembered(world, bad.version).await?;
    world.set_pinned(&id, false).await?;
    upgrade(world).await.map(drop)
}

async fn confirmed_stays(world: &mut dyn World) -> CaseResult {
    let running = upgrade(world).await?;
    let entries = entries_if_seen(world).await?.unwrap_or_default();
    ensure!(entries.iter().all(|entry| entry.tries_left.is_none()), "still counted: {entries:?}");
    for _ in 0..4 {
        reboot_into(world, running.version).await?;
    }
    Ok(())
}

/// Nobody confirms the boots of the new deployment, until its tries are used up.
async fn until_given_up(world: &mut dyn World, now: Version, clean_up: bool) -> CaseResult {
    for _ in 0..MANY_TRIES {
        if clean_up {
            world.gc().await?;
        }
        whole_entries(world).await?;
        if world.reboot_unconfirmed().await?.version == now {
            return upgrade(world).await.map(drop);
        }
    }
    anyhow::bail!("it is started again and again, although no boot of it was confirmed")
}

async fn clean_up_meanwhile(world: &mut dyn World) -> CaseResult {
    let (now, _) = into_a_trial(world).await?;
    until_given_up(world, now, true).await
}

/// The same tree may be the same deployment, which is published once more while it is on trial.
async fn built_again_meanwhile(world: &mut dyn World) -> CaseResult {
    let (now, tried) = into_a_trial(world).await?;
    stage(world, &tried.built_again()).await?;
    until_given_up(world, now, false).await
}

/// Nobody waited for the first to prove good. The machine may go back to it, on trial still, or to what ran before it.
async fn fails_after_unconfirmed(world: &mut dyn World) -> CaseResult {
    let (now, first) = into_a_trial(world).await?;
    let bad = next_image(world).health(Health::NeverComesUp);
    stage(world, &bad).await?;
    let running = world.reboot().await.context("fall back")?.version;
    ensure!([first.version, now].contains(&running), "{running} runs after a failed trial");
    remembered(world, bad.version).await?;
    whole_entries(world).await?;
    reboot_into(world, running).await?;
    upgrade(world).await.map(drop)
}

async fn on_trial(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    let image = next_image(world);
    stage(world, &image).await?;
    let running = world.reboot_unconfirmed().await?;
    ensure!(running.version == image.version, "{} runs on trial", running.version);
    let status = world.status().await?;
    shows(&status, !status.rollback_queued, "no rollback is queued")?;
    shows(&status, is_version(status.rollback.as_ref(), now), "the way back is what ran before")?;
    world.rollback().await?;
    reboot_into(world, now).await?;
    upgrade(world).await.map(drop)
}
