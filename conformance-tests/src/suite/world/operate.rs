//! What is done to a machine: power, the program's verbs, and power that fails in the middle of one.
//!
//! Where the engine runs in this process, all of it is the same, whatever the machine is made of: such a world is [`InProcess`].

use std::fmt::Debug;

use async_trait::async_trait;
use bootwright_core::{
    engine::{Engine, UpdateOutcome, UpdateRequest},
    fs::{Fault, Faults},
    model::{DeploymentId, ImageReference},
};

use super::{UpgradeMode, World};
use crate::suite::{Channel, FsckFindings, Result, Running, SystemStatus, Upgraded};

/// A machine that is switched on and off and told what to do. Every method is one thing that a person does, or that happens, and returns
/// when it is done.
#[async_trait]
pub trait Operate: Debug + Send {
    /// Switches the machine on, as its firmware and loader would: they read the boot files, not the plugins. Goes on through failed
    /// boots ([`crate::suite::Health::NeverComesUp`]: tries count down, the loader falls back) until a boot came up and was confirmed
    /// (`confirm_boot`, which also cleans up); returns what runs then.
    ///
    /// # Errors
    /// `World` if nothing comes up: the disk does not boot.
    async fn power_on(&mut self) -> Result<Running>;

    /// Orderly shutdown, in which a staged deployment is finalised and published, then as [`Operate::power_on`].
    ///
    /// # Errors
    /// `Refused` if the finalisation fails (the machine then runs on).
    async fn reboot(&mut self) -> Result<Running>;

    /// As [`Operate::reboot`], but the first boot, which comes up, is not confirmed; returns what runs, unconfirmed.
    async fn reboot_unconfirmed(&mut self) -> Result<Running>;

    /// Power is cut now: no finalisation. Then as [`Operate::power_on`].
    async fn power_cut(&mut self) -> Result<Running>;

    /// `upgrade`.
    async fn upgrade(&mut self, mode: UpgradeMode) -> Result<Upgraded>;

    /// `switch` to another channel.
    async fn switch(&mut self, channel: Channel, mode: UpgradeMode) -> Result<Upgraded>;

    /// `rollback`.
    async fn rollback(&mut self) -> Result<()>;

    /// `gc`.
    async fn gc(&mut self) -> Result<()>;

    /// `pin`, or `unpin`, of a deployment by its id.
    async fn set_pinned(&mut self, id: &str, pinned: bool) -> Result<()>;

    /// `fsck`.
    async fn fsck(&mut self) -> Result<FsckFindings>;

    /// `status`.
    async fn status(&mut self) -> Result<SystemStatus>;

    /// Changes to disks and firmware since the last call of [`Operate::stop_before`].
    async fn mutations(&mut self) -> Result<u64>;

    /// What made changes durable, since then.
    async fn syncs(&mut self) -> Result<u64>;

    /// From the `n`th change on (counted from 0, from now on) nothing reaches the disk: the operation under way fails as `Interrupted`.
    /// `None` counts, and stops nothing: after a stop, the program was killed and the machine runs on. [`Operate::power_cut`] ends it.
    async fn stop_before(&mut self, n: Option<u64>) -> Result<()>;

    /// The `n`th change (counted from 0, from now on), or sync, fails like this, and no other does. [`Operate::power_cut`] ends it.
    async fn fail_once(&mut self, n: u64, fault: Fault) -> Result<()>;

    /// Each read fails from now on, and answers when it is made again. [`Operate::power_cut`] ends it.
    async fn fail_reads_at_first(&mut self) -> Result<()>;

    /// What failed last because of one of the two; `None` as long as nothing did.
    async fn failed(&mut self) -> Result<Option<String>>;
}

/// A world whose engine runs in this process.
#[async_trait]
pub(in crate::suite) trait InProcess: World {
    /// The engine, as the program would make it now.
    fn engine(&self) -> Result<Engine>;

    /// What a channel is called there.
    fn reference(&self, channel: Channel) -> Result<ImageReference>;

    /// What is to happen to changes.
    fn faults(&mut self) -> &mut Faults;

    /// A boot, and those that follow from it by themselves; returns whether the last one comes up.
    async fn boot_once(&mut self) -> Result<bool>;

    /// `upgrade`, or with a channel `switch`.
    async fn update(&mut self, channel: Option<Channel>, mode: UpgradeMode) -> Result<Upgraded> {
        let image = channel.map(|channel| self.reference(channel)).transpose()?;
        let request = UpdateRequest { image, mode: mode.into(), retry: mode == UpgradeMode::Retry };
        Ok(self.engine()?.update(&request).await?.into())
    }
}

#[async_trait]
impl<T: InProcess> Operate for T {
    async fn power_on(&mut self) -> Result<Running> {
        const ENOUGH: u32 = 10;
        for _ in 0..ENOUGH {
            if self.boot_once().await? {
                self.engine()?.confirm_boot().await?;
                return self.running().await;
            }
        }
        Err(anyhow::anyhow!("nothing came up in {ENOUGH} boots").into())
    }

    async fn reboot(&mut self) -> Result<Running> {
        self.engine()?.finalize_staged().await?;
        self.power_on().await
    }

    async fn reboot_unconfirmed(&mut self) -> Result<Running> {
        self.engine()?.finalize_staged().await?;
        self.boot_once().await?;
        self.running().await
    }

    async fn power_cut(&mut self) -> Result<Running> {
        *self.faults() = Faults::none();
        self.power_on().await
    }

    async fn upgrade(&mut self, mode: UpgradeMode) -> Result<Upgraded> {
        self.update(None, mode).await
    }

    async fn switch(&mut self, channel: Channel, mode: UpgradeMode) -> Result<Upgraded> {
        self.update(Some(channel), mode).await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.engine()?.rollback().await?;
        Ok(())
    }

    async fn gc(&mut self) -> Result<()> {
        self.engine()?.gc().await?;
        Ok(())
    }

    async fn set_pinned(&mut self, id: &str, pinned: bool) -> Result<()> {
        Ok(self.engine()?.set_pinned(&DeploymentId::new(id)?, pinned).await?)
    }

    async fn fsck(&mut self) -> Result<FsckFindings> {
        Ok(self.engine()?.fsck().await?.into())
    }

    async fn status(&mut self) -> Result<SystemStatus> {
        Ok(self.engine()?.status().await?.into())
    }

    async fn mutations(&mut self) -> Result<u64> {
        Ok(self.faults().count())
    }

    async fn syncs(&mut self) -> Result<u64> {
        Ok(self.faults().syncs())
    }

    async fn stop_before(&mut self, n: Option<u64>) -> Result<()> {
        *self.faults() = n.map_or_else(Faults::none, Faults::stop_before);
        Ok(())
    }

    async fn fail_once(&mut self, n: u64, fault: Fault) -> Result<()> {
        *self.faults() = Faults::fail_once(n, fault);
        Ok(())
    }

    async fn fail_reads_at_first(&mut self) -> Result<()> {
        *self.faults() = Faults::reads_fail_at_first();
        Ok(())
    }

    async fn failed(&mut self) -> Result<Option<String>> {
        Ok(self.faults().met())
    }
}

impl From<UpdateOutcome> for Upgraded {
    fn from(outcome: UpdateOutcome) -> Self {
        match outcome {
            UpdateOutcome::UpToDate(_) => Self::UpToDate,
            UpdateOutcome::Available(..) => Self::Available,
            UpdateOutcome::Abandoned(..) => Self::Abandoned,
            UpdateOutcome::Staged { hold: true, .. } => Self::Downloaded,
            UpdateOutcome::Staged { hold: false, .. } => Self::Staged,
        }
    }
}
