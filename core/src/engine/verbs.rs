//! The verbs, as a command line calls them. Each takes the lock, recovers, and says what it did.

use std::path::PathBuf;

use super::{
    Abandoned, DeploymentRecord, Engine, Observed, Operation, StagedRecord, Step, SystemRecord, defaults,
    execute::Performed,
};
use crate::{
    backend::FetchEstimate,
    error::{Effect, Error, ErrorKind, Result},
    model::{
        DeploySpec, DeploymentId, ImageReference, ImageSummary, KernelCmdline, PinnedImage, ProgressEvent,
        Removed, Stateroot, VerifyReport,
    },
    transport::policy::Admission,
};

/// What an install needs to know.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// The image to install from.
    pub image: ImageReference,
    /// The reference that upgrades follow; usually the same.
    pub origin: ImageReference,
    /// Choices that hold for the whole system.
    pub system: SystemRecord,
    /// How the machine finds its physical root.
    pub machine_args: KernelCmdline,
    /// Arguments of the administrator.
    pub user_args: KernelCmdline,
    /// Type of the root file system, if known: an image that asks for another one is told about.
    pub filesystem: Option<String>,
    /// A folder outside the disk where the backend leaves notes for the step after unmounting ([`crate::context::OfflineRoot`]).
    pub notes: PathBuf,
}

/// How far an update goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// Look only; writes nothing.
    Check,
    /// Fetch and prepare, but do not finalise at shutdown.
    DownloadOnly,
    /// Make it the default at the next shutdown.
    Stage,
}

/// An update, or a switch to another image.
#[derive(Debug, Clone)]
pub struct UpdateRequest {
    /// The image to follow from now on; `None` follows the running deployment's origin.
    pub image: Option<ImageReference>,
    /// How far to go.
    pub mode: UpdateMode,
    /// Also an image that lost its trial here, or was rolled back. Naming one in `image` is to insist on it as well.
    pub retry: bool,
}

impl UpdateRequest {
    fn insists(&self) -> bool {
        self.retry || self.image.is_some()
    }
}

/// What an update found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// What runs, or is staged, is this image already.
    UpToDate(ImageSummary),
    /// This machine left the image, and nothing was done: it waits for another one, or for `retry`.
    Abandoned(ImageSummary, Abandoned),
    /// There is something new (mode `Check`).
    Available(ImageSummary, FetchEstimate),
    /// It waits for the next shutdown, or, with `hold`, for being asked for.
    Staged {
        /// The new deployment.
        deployment: DeploymentId,
        /// Its image.
        image: ImageSummary,
        /// Only downloaded.
        hold: bool,
    },
}

/// An image together with everything that its deployment depends on.
#[derive(Debug, Clone)]
pub(super) struct ImageRequest {
    pub summary: ImageSummary,
    pub origin: ImageReference,
    pub stateroot: Stateroot,
    pub merge_from: Option<DeploymentId>,
    pub machine_args: KernelCmdline,
    pub user_args: KernelCmdline,
    pub filesystem: Option<String>,
    pub admission: Admission,
    /// What runs was installed from an image that demands a signature policy.
    pub signature_policy: bool,
}

impl ImageRequest {
    pub fn spec(&self) -> DeploySpec {
        let summary = &self.summary;
        DeploySpec {
            image: PinnedImage {
                reference: summary.reference.clone(),
                manifest_digest: summary.manifest_digest.clone(),
                version: summary.version.clone(),
                created: summary.created.clone(),
                architecture: summary.architecture.clone(),
            },
            origin: self.origin.clone(),
            stateroot: self.stateroot.clone(),
            merge_from: self.merge_from.clone(),
        }
    }
}

impl Engine {
    /// Installs the first deployment. The caller has made the file systems, and unmounts them afterwards.
    ///
    /// # Errors
    /// `InvalidInput` if the disk has a system already; else whatever a step reports. A failed install leaves a disk to be made anew.
    pub async fn install(&self, request: &InstallRequest) -> Result<DeploymentId> {
        let _lock = self.lock().await?;
        let (summary, admission) = self.admitted(&request.image).await?;
        let image = ImageRequest {
            summary,
            admission,
            signature_policy: false,
            origin: request.origin.clone(),
            stateroot: request.system.stateroot.clone(),
            merge_from: None,
            machine_args: request.machine_args.clone(),
            user_args: request.user_args.clone(),
            filesystem: request.filesystem.clone(),
        };
        self.parts.state.set_system(&request.system)?;
        self.announce(&image.summary).await?;
        let done = self.perform(&Operation::Install, Some(&image)).await?;
        self.parts.backend.seal(&request.notes).await?;
        done.prepared.ok_or_else(|| Error::internal("an install made no deployment"))
    }

    /// Looks for, downloads or stages another image.
    ///
    /// # Errors
    /// `NotFound` if the running system is not one of ours; else whatever a step reports, with nothing changed.
    pub async fn update(&self, request: &UpdateRequest) -> Result<UpdateOutcome> {
        if request.mode == UpdateMode::Check {
            return self.check(request).await;
        }
        let _lock = self.lock().await?;
        self.update_under_lock(request).await.map_err(|error| self.parts.state.explained(error))
    }

    async fn update_under_lock(&self, request: &UpdateRequest) -> Result<UpdateOutcome> {
        self.recover().await?;
        let observed = self.observe().await?;
        let image = self.image_request(request, &observed).await?;
        let hold = request.mode == UpdateMode::DownloadOnly;
        if let Some(outcome) = self.nothing_to_fetch(&image, &observed, hold)? {
            return Ok(outcome);
        }
        if let Some(outcome) = left_before(request, &image, &observed) {
            return Ok(outcome);
        }
        self.announce(&image.summary).await?;
        let done = self.perform(&Operation::Update { hold }, Some(&image)).await?;
        let deployment = done.prepared.ok_or_else(|| Error::internal("an update made no deployment"))?;
        let digest = &image.summary.manifest_digest;
        if observed.has_left(digest) {
            // It is staged all the same; that it was left once is forgotten the next time.
            self.forget_abandoned(digest).map_err(|error| error.with_effect(Effect::Partial))?;
        }
        Ok(UpdateOutcome::Staged { deployment, image: image.summary, hold })
    }

    async fn check(&self, request: &UpdateRequest) -> Result<UpdateOutcome> {
        let observed = self.observe().await?;
        let image = self.image_request(request, &observed).await?;
        if is_current(&image, &observed) {
            return Ok(UpdateOutcome::UpToDate(image.summary));
        }
        if let Some(outcome) = left_before(request, &image, &observed) {
            return Ok(outcome);
        }
        let estimate = self.parts.backend.estimate(&image.summary).await?;
        Ok(UpdateOutcome::Available(image.summary, estimate))
    }

    async fn image_request(&self, request: &UpdateRequest, observed: &Observed) -> Result<ImageRequest> {
        let base = base_deployment(observed)?;
        let record = observed.records.get(&base.id).cloned().unwrap_or_default();
        let reference = request.image.as_ref().unwrap_or(&base.origin);
        let DeploymentRecord { machine_args, user_args, signature_policy, .. } = record;
        let (summary, admission) = self.admitted(reference).await?;
        if signature_policy {
            defaults::demand_policy(admission)?;
        }
        Ok(ImageRequest {
            summary,
            admission,
            signature_policy,
            origin: reference.clone(),
            stateroot: base.stateroot.clone(),
            merge_from: Some(base.id.clone()),
            machine_args,
            user_args,
            filesystem: None,
        })
    }

    /// An image that exists and that the host's policy lets in.
    async fn admitted(&self, reference: &ImageReference) -> Result<(ImageSummary, Admission)> {
        let summary = self.parts.images.look_up(reference).await?;
        let admission = self.parts.policy.admit(&summary).await?;
        Ok((summary, admission))
    }

    /// The answer when the image is running or staged already; releases a held one if that is asked.
    fn nothing_to_fetch(
        &self,
        image: &ImageRequest,
        observed: &Observed,
        hold: bool,
    ) -> Result<Option<UpdateOutcome>> {
        if !is_current(image, observed) {
            return Ok(None);
        }
        let Some(staged) = &observed.staged else {
            return Ok(Some(UpdateOutcome::UpToDate(image.summary.clone())));
        };
        if staged.hold && !hold {
            self.parts.state.set_staged(Some(&StagedRecord { hold: false, ..staged.clone() }))?;
        }
        let hold = staged.hold && hold;
        let (deployment, image) = (staged.deployment.clone(), image.summary.clone());
        Ok(Some(UpdateOutcome::Staged { deployment, image, hold }))
    }

    async fn announce(&self, image: &ImageSummary) -> Result<()> {
        let cost = self.parts.backend.estimate(image).await?;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!(
            "{}: {} of {} layers to fetch, {} MiB to transfer, up to about {} MiB to write",
            image.reference,
            cost.layers_missing,
            cost.layers,
            mib(cost.download),
            mib(cost.store),
        );
        self.parts.progress.report(ProgressEvent::Message(message));
        Ok(())
    }

    /// At shutdown: publishes the staged deployment. Returns it, or `None` if nothing was to be done.
    ///
    /// # Errors
    /// Whatever a step reports; before the commit the old deployment stays the default and the staged one stays staged.
    pub async fn finalize_staged(&self) -> Result<Option<DeploymentId>> {
        let _lock = self.lock().await?;
        let done = self.perform(&Operation::Finalize, None).await?;
        Ok(done.published().then(|| done.observed.staged.map(|staged| staged.deployment)).flatten())
    }

    /// After a good boot: stops counting tries, then deletes what nothing needs. Returns a staged deployment of an earlier
    /// boot whose finalisation was missed (power was cut before shutdown could run it).
    pub async fn confirm_boot(&self) -> Result<Option<StagedRecord>> {
        let _lock = self.lock().await?;
        let done = self.perform(&Operation::Confirm, None).await?;
        // Planned anew: what the confirmation made the default decides what may go.
        self.perform(&Operation::CleanUp, None).await?;
        Ok(done.observed.staged.filter(|staged| !staged.hold && staged.boot_id != self.parts.boot_id))
    }

    /// Early in a boot: sees to it that a deployment on trial gets all its tries, where the bootloader does not by itself. Returns whether the
    /// machine has to reboot for that now.
    ///
    /// # Errors
    /// As the bootloader reports. The trial is lost then, and what runs goes on.
    pub async fn try_again(&self) -> Result<bool> {
        let _lock = self.lock().await?;
        self.parts.loader.try_again().await
    }

    /// Makes the previous deployment the default, or undoes that. Drops a staged deployment. Returns the new default.
    ///
    /// # Errors
    /// `NotFound` if there is no other deployment.
    pub async fn rollback(&self) -> Result<DeploymentId> {
        let _lock = self.lock().await?;
        let done = self.perform(&Operation::Rollback, None).await?;
        let target = done.observed.rollback_target().cloned();
        target.ok_or_else(|| Error::internal("a rollback had no target"))
    }

    /// Deletes deployments, boot entries, files and downloads that nothing needs.
    pub async fn gc(&self) -> Result<Removed> {
        let _lock = self.lock().await?;
        Ok(self.perform(&Operation::Gc, None).await?.removed)
    }

    /// Reads every object of the store and every boot file, and compares it with its digest. Changes nothing.
    pub async fn fsck(&self) -> Result<VerifyReport> {
        let mut report = self.parts.loader.verify().await?;
        report.add(self.parts.backend.verify(&*self.parts.progress).await?);
        Ok(report)
    }

    /// Protects a deployment from removal, or no longer: a pin that the store itself has goes as well then.
    ///
    /// # Errors
    /// `NotFound` if there is no such deployment; else as writing fails.
    ///
    /// # Crash
    /// It is pinned as before, or as was asked for; running it again finishes it.
    pub async fn set_pinned(&self, id: &DeploymentId, pinned: bool) -> Result<()> {
        let _lock = self.lock().await?;
        let observed = self.observe().await?;
        let Some(deployment) = observed.deployments.get(id) else { return Err(unknown(id, &observed)) };
        let state = &self.parts.state;
        let mut record = state.record(id)?;
        record.pinned = pinned;
        // Unpinning is the first step to more room.
        state.use_reserve_if_full()?;
        state.set_record(id, &record)?;
        if deployment.pinned_by_store && !pinned {
            self.parts.backend.unpin(id).await?;
        }
        state.set_reserve_aside();
        Ok(())
    }
}

impl Performed {
    fn published(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Publish(_)))
    }
}

fn unknown(id: &DeploymentId, observed: &Observed) -> Error {
    let known: Vec<_> = observed.deployments.keys().map(DeploymentId::as_str).collect();
    Error::not_found(format!("there is no deployment {id}"))
        .with_hint(format!("installed: {}", known.join(", ")))
}

/// The deployment whose `/etc`, origin and arguments an update continues.
fn base_deployment(observed: &Observed) -> Result<&crate::model::Deployment> {
    let id = observed.booted.as_ref().or(observed.default_deployment());
    id.and_then(|id| observed.deployments.get(id)).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the running system was not installed by bootwright")
            .with_hint("run this on an installed system, or install one with `bootwright install`")
    })
}

/// The answer when this machine left the image before, and nobody insists on it.
fn left_before(request: &UpdateRequest, image: &ImageRequest, observed: &Observed) -> Option<UpdateOutcome> {
    let left = observed.abandoned_image(&image.summary.manifest_digest).filter(|_| !request.insists())?;
    Some(UpdateOutcome::Abandoned(image.summary.clone(), left))
}

/// Whether the newest deployment (staged, or else running) is this very image, followed from the same place.
fn is_current(image: &ImageRequest, observed: &Observed) -> bool {
    let staged = observed.staged.as_ref().map(|staged| &staged.deployment);
    let newest = staged.or(observed.booted.as_ref()).or(observed.default_deployment());
    newest.and_then(|id| observed.deployments.get(id)).is_some_and(|deployment| {
        deployment.image.manifest_digest == image.summary.manifest_digest && deployment.origin == image.origin
    })
}
