//! Firmware that loses its variables: what lies in the removable-media path has to boot then.

use anyhow::ensure;

use super::{
    World, case,
    steps::{into_a_trial, next_image, reboot_into, stage, upgrade, with_way_back},
    trial,
};
use crate::suite::{Case, CaseResult, Demand, Firmware, Property, Version};

const FORGETFUL: [Demand; 2] = [Demand::Tier(Property::LostVariables), Demand::Firmware(Firmware::Uefi)];
const IN_A_TRIAL: [Demand; 5] = [
    FORGETFUL[0],
    FORGETFUL[1],
    Demand::Loader("boot_counting"),
    Demand::Tier(Property::FailingBoots),
    Demand::Tier(Property::UnconfirmedBoots),
];

pub(super) const CASES: &[Case] = &[
    case!(
        "firmware::one_that_forgets_everything_boots_what_proved_good_last",
        ["BW-413", "BW-422"],
        FORGETFUL,
        Running,
        forgets
    ),
    case!(
        "firmware::one_that_forgets_a_rollback_boots_one_of_both",
        ["BW-413", "BW-422"],
        FORGETFUL,
        Running,
        forgets_a_rollback
    ),
    case!(
        "firmware::one_that_forgets_everything_during_a_trial_boots_the_old_or_the_new",
        ["BW-413", "BW-422"],
        IN_A_TRIAL,
        Running,
        forgets_a_trial
    ),
    case!(
        "firmware::one_that_forgets_everything_during_the_trial_after_one_that_failed",
        ["BW-413", "BW-422"],
        IN_A_TRIAL,
        Running,
        forgets_the_next_trial
    ),
];

/// Power fails, and the firmware forgets: one of `good` has to run then, and upgrades go on.
async fn forgotten(world: &mut dyn World, good: &[Version]) -> CaseResult {
    world.lose_variables().await?;
    let running = world.power_cut().await?.version;
    ensure!(
        good.contains(&running),
        "{running} runs when the firmware has forgotten everything, not one of {good:?}"
    );
    reboot_into(world, running).await?;
    upgrade(world).await?;
    upgrade(world).await.map(drop)
}

async fn forgets(world: &mut dyn World) -> CaseResult {
    let (_, now) = with_way_back(world).await?;
    forgotten(world, &[now]).await
}

async fn forgets_a_rollback(world: &mut dyn World) -> CaseResult {
    let (before, now) = with_way_back(world).await?;
    world.rollback().await?;
    forgotten(world, &[before, now]).await
}

async fn forgets_a_trial(world: &mut dyn World) -> CaseResult {
    let (now, next) = into_a_trial(world).await?;
    forgotten(world, &[now, next.version]).await
}

async fn forgets_the_next_trial(world: &mut dyn World) -> CaseResult {
    let (_, now) = trial::fail(world).await?;
    let next = next_image(world);
    stage(world, &next).await?;
    world.reboot_unconfirmed().await?;
    forgotten(world, &[now, next.version]).await
}
