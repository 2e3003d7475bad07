//! Images that the host's signature policy lets in, and those that it does not: no backend has a say in it.

use anyhow::ensure;
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{install, next_image, nothing_changed, reboot_into, shows, upgrade},
};
use crate::suite::{
    Case, CaseResult, Channel, Demand, Fingerprint, InstallOptions, Property, UpgradeMode, refused,
};

const DEMANDS: [Demand; 2] =
    [Demand::Tier(Property::SignaturePolicies), Demand::Tier(Property::Fingerprints)];

pub(super) const CASES: &[Case] = &[
    case!(
        "policy::what_it_rejects_is_neither_upgraded_nor_switched_to",
        ["BW-106", "BW-610", "BW-611", "BW-613"],
        DEMANDS,
        Running,
        rejects_upgrades
    ),
    case!("policy::what_it_rejects_is_not_installed", ["BW-610"], DEMANDS, Blank, rejects_installs),
];

/// Rejects whatever comes by the transports of all tiers, and nothing else.
const REJECTS: &str = r#"{
    "default": [{"type": "insecureAcceptAnything"}],
    "transports": {"docker": {"": [{"type": "reject"}]}, "oci": {"": [{"type": "reject"}]}}
}"#;

/// Accepts that, and nothing else.
const ACCEPTS: &str = r#"{
    "default": [{"type": "reject"}],
    "transports": {
        "docker": {"": [{"type": "insecureAcceptAnything"}]},
        "oci": {"": [{"type": "insecureAcceptAnything"}]}
    }
}"#;

/// Somebody stopped writing.
const CUT_SHORT: &str = r#"{"default": [{"type": "insecureAcc"#;

/// Every way to a new image is closed, and nothing comes of trying.
async fn nothing_gets_in(world: &mut dyn World, before: &Fingerprint, kind: ErrorKind) -> CaseResult {
    use UpgradeMode::{Check, DownloadOnly, Retry, Stage};
    for mode in [Check, DownloadOnly, Stage, Retry] {
        for outcome in [world.upgrade(mode).await, world.switch(Channel::OTHER, mode).await] {
            nothing_changed(world, before, &refused(outcome)?, kind).await?;
        }
    }
    let status = world.status().await?;
    shows(&status, status.staged.is_none(), "nothing is staged")
}

async fn rejects_upgrades(world: &mut dyn World) -> CaseResult {
    let (image, other) = (next_image(world), next_image(world));
    world.publish(Channel::MAIN, &image).await?;
    world.publish(Channel::OTHER, &other).await?;
    let before = world.fingerprint().await?;
    for (text, kind) in [(REJECTS, ErrorKind::Permission), (CUT_SHORT, ErrorKind::InvalidInput)] {
        world.set_policy(Some(text)).await?;
        nothing_gets_in(world, &before, kind).await?;
    }
    world.set_policy(Some(ACCEPTS)).await?;
    world.upgrade(UpgradeMode::Stage).await?;
    reboot_into(world, image.version).await?;
    world.set_policy(None).await?;
    upgrade(world).await.map(drop)
}

async fn rejects_installs(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    let before = world.fingerprint().await?;
    world.set_policy(Some(REJECTS)).await?;
    let refusal = refused(world.install(&InstallOptions::default()).await)?;
    ensure!(refusal.kind == ErrorKind::Permission, "refused as {}: {}", refusal.kind, refusal.text);
    let mut after = world.fingerprint().await?;
    // Whoever is about to change a system takes the lock, which is no part of a fingerprint but for its folder.
    after.0.remove("root/bootwright");
    before.unchanged(&after, "an install that was refused")?;
    world.set_policy(Some(ACCEPTS)).await?;
    install(world, &InstallOptions::default()).await.map(drop)
}
