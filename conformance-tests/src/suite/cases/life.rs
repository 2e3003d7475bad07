//! A whole life of one machine, in as few boots as show it all: what every combination goes through in virtual machines, where a boot
//! takes longer than everything else. The other cases look at each of these things alone, and closer.

use anyhow::{Context as _, ensure};

use super::{
    World, case,
    kernel::default_kernel,
    steps::{
        add_foreign, all_whole, foreign_stays, has, install_image, next_image, reboot_into, shows, stage,
        upgrade_to,
    },
};
use crate::{
    suite::{
        Case, CaseResult, Channel, Demand, InstallOptions, Property, SeenEntry, TestImage, UpgradeMode,
        Upgraded, Version, is_version,
    },
    system::KernelFormat,
};

pub(super) const CASES: &[Case] = &[case!(
    "life::from_the_install_to_the_last_upgrade",
    ["BW-101", "BW-102", "BW-103", "BW-105", "BW-109", "BW-110", "BW-202", "BW-205", "BW-305"],
    [],
    Blank,
    whole_life
)];

const KARG: &str = "suite.life=1";
const DATA: &str = "var/lib/life/data";
const EDITED: &str = "etc/life/edited";
const REMOVED: &str = "etc/life/removed";
const ADDED: &str = "etc/life/added";
const DEFAULT: &str = "etc/life/default";

async fn whole_life(world: &mut dyn World) -> CaseResult {
    let mut life = begin(world).await.context("install")?;
    life.upgraded(world).await.context("upgrade to the other kernel format")?;
    life.back(world).await.context("rollback")?;
    life.forward(world).await.context("roll forward")?;
    life.switched(world).await.context("switch to another image")?;
    life.first_format(world).await.context("upgrade back to the first kernel format")?;
    life.kernel_alone(world).await.context("switch back to an image in which the kernel alone is another")?;
    life.etc_alone(world).await.context("upgrade that changes /etc alone")?;
    life.cleaned(world).await.context("unpin and clean up")
}

/// What is remembered from one part to the next.
struct Life {
    first: Version,
    second: Version,
    karg: bool,
    foreign: Option<SeenEntry>,
    last: TestImage,
}

/// An image with the files in `/etc` that this life is about.
fn image(world: &mut dyn World) -> TestImage {
    let image = next_image(world);
    let version = image.version.to_string();
    image.with(EDITED, "default").with(REMOVED, "default").with(DEFAULT, &version)
}

/// The same with the kernel in the other format, where the pair can boot both.
fn other_format(world: &mut dyn World) -> TestImage {
    let image = image(world);
    if world.demand(&Demand::BothFormats).is_err() {
        return image;
    }
    let other = image.format.other();
    image.format(other)
}

/// Installs, boots, and changes what an administrator changes.
async fn begin(world: &mut dyn World) -> anyhow::Result<Life> {
    let image = image(world);
    let karg = takes_arguments(world);
    let kargs = if karg { vec![KARG.to_owned()] } else { Vec::new() };
    install_image(world, &image, &InstallOptions { kargs, ..InstallOptions::default() }).await?;
    world.write(EDITED, "local").await?;
    world.write(ADDED, "local").await?;
    world.remove(REMOVED).await?;
    world.write(DATA, "data").await?;
    let foreign = add_foreign(world).await?;
    Ok(Life { first: image.version, second: image.version, karg, foreign, last: image })
}

/// Whether every kernel of this life takes arguments of the administrator: a UKI may not.
fn takes_arguments(world: &dyn World) -> bool {
    let only_split = world.demand(&Demand::Format(KernelFormat::Split)).is_ok()
        && world.demand(&Demand::BothFormats).is_err();
    only_split || world.demand(&Demand::Loader("addons")).is_ok()
}

impl Life {
    /// With the kernel in the other format, where the pair can boot both; so what follows goes back and forth between the two.
    async fn upgraded(&mut self, world: &mut dyn World) -> CaseResult {
        let image = other_format(world);
        upgrade_to(world, &image).await?;
        self.second = image.version;
        self.last = image;
        self.kept(world).await?;
        let status = world.status().await?;
        shows(&status, is_version(status.rollback.as_ref(), self.first), "the way back is what ran")?;
        let id = status.of(self.first).context("the first deployment")?.id.clone();
        world.set_pinned(&id, true).await?;
        world.write(DATA, "newer data").await?;
        Ok(world.write(ADDED, "changed in the second").await?)
    }

    async fn back(&self, world: &mut dyn World) -> CaseResult {
        world.rollback().await?;
        reboot_into(world, self.first).await?;
        has(world, ADDED, Some("local"), "a rollback has the old /etc back").await?;
        has(world, DEFAULT, Some(&self.first.to_string()), "and its defaults").await?;
        has(world, DATA, Some("newer data"), "/var stays as it is").await
    }

    async fn forward(&self, world: &mut dyn World) -> CaseResult {
        world.rollback().await?;
        reboot_into(world, self.second).await?;
        has(world, ADDED, Some("changed in the second"), "the newer deployment has its own /etc").await?;
        world.write(ADDED, "local").await?;
        world.write(DATA, "data").await?;
        self.kept(world).await
    }

    /// Another image with the same kernel; then there are three deployments.
    async fn switched(&mut self, world: &mut dyn World) -> CaseResult {
        let image = other_format(world);
        self.switch_to(world, Channel::OTHER, image).await?;
        let status = world.status().await?;
        for version in [self.first, self.second, self.last.version] {
            shows(&status, status.of(version).is_some(), &format!("{version} is there"))?;
        }
        Ok(())
    }

    async fn first_format(&mut self, world: &mut dyn World) -> CaseResult {
        let mut image = image(world);
        image.kernel_version = 2;
        world.publish(Channel::OTHER, &image).await?;
        let outcome = world.upgrade(UpgradeMode::Stage).await?;
        ensure!(outcome == Upgraded::Staged, "an upgrade ended as {outcome:?}");
        reboot_into(world, image.version).await?;
        self.last = image;
        self.kept(world).await
    }

    /// From here on the machine follows [`Channel::MAIN`] again.
    async fn kernel_alone(&mut self, world: &mut dyn World) -> CaseResult {
        let (before, kernel) = (world.running().await?, default_kernel(world).await?);
        let image = self.last.clone().kernel("another");
        self.switch_to(world, Channel::MAIN, image).await?;
        let after = world.running().await?;
        ensure!(after.id != before.id, "another kernel is no other deployment: {}", after.id);
        ensure!(kernel.is_none() || default_kernel(world).await? != kernel, "the old kernel boots");
        Ok(())
    }

    async fn switch_to(&mut self, world: &mut dyn World, channel: Channel, image: TestImage) -> CaseResult {
        world.publish(channel, &image).await?;
        let outcome = world.switch(channel, UpgradeMode::Stage).await?;
        ensure!(outcome == Upgraded::Staged, "a switch ended as {outcome:?}");
        reboot_into(world, image.version).await?;
        self.last = image;
        self.kept(world).await
    }

    async fn etc_alone(&mut self, world: &mut dyn World) -> CaseResult {
        let image = self.last.clone().with(DEFAULT, "changed alone");
        stage(world, &image).await?;
        reboot_into(world, image.version).await?;
        has(world, DEFAULT, Some("changed alone"), "the new default arrives").await?;
        self.last = image;
        self.kept(world).await
    }

    async fn cleaned(&self, world: &mut dyn World) -> CaseResult {
        let status = world.status().await?;
        let pinned = status.of(self.first).context("the pinned deployment is there")?.id.clone();
        world.set_pinned(&pinned, false).await?;
        world.gc().await?;
        let status = world.status().await?;
        shows(&status, status.of(self.first).is_none(), "what is no longer pinned is gone")?;
        shows(&status, status.all().count() == 2, "two deployments are left")?;
        nobody_complains(world).await?;
        self.kept(world).await
    }

    /// What no upgrade may lose.
    async fn kept(&self, world: &mut dyn World) -> CaseResult {
        has(world, EDITED, Some("local"), "a local change survives").await?;
        has(world, ADDED, Some("local"), "a local addition survives").await?;
        has(world, REMOVED, None, "a local deletion survives").await?;
        has(world, DATA, Some("data"), "/var survives").await?;
        let cmdline = world.cmdline().await?;
        let in_effect = cmdline.split_whitespace().any(|word| word == KARG);
        ensure!(in_effect || !self.karg, "the administrator's argument is lost: {cmdline}");
        self.menu_kept(world).await
    }

    /// Every entry is whole, and that of another system is as it was.
    async fn menu_kept(&self, world: &mut dyn World) -> CaseResult {
        if world.demand(&Demand::Tier(Property::BootMenus)).is_err() {
            return Ok(());
        }
        let all = world.entries().await?;
        all_whole(&all)?;
        foreign_stays(self.foreign.as_ref(), &all)
    }
}

async fn nobody_complains(world: &mut dyn World) -> CaseResult {
    if world.demand(&Demand::Tier(Property::IndependentEyes)).is_err() {
        return Ok(());
    }
    let complaints = world.complaints().await?;
    ensure!(complaints.is_empty(), "other programs do not like what was written: {complaints:#?}");
    Ok(())
}
