//! The engine: turns an operation into ordered steps, runs them, and recovers what was interrupted.
//!
//! [`Observed`] is what the disk says; [`plan()`] is pure; [`Engine`] executes with an intent journal. The invariants I1 to I9 of
//! `docs/spec.md` are the engine's: no plugin can break them by itself, and no plugin is known here by name.

mod abandoned;
mod compatible;
mod defaults;
mod entry;
mod execute;
mod failure;
mod journal;
mod keep;
mod lock;
mod observe;
mod plan;
mod recover;
mod refresh;
mod room;
mod state;
mod status;
mod units;
mod verbs;

pub use abandoned::{AbandonReason, Abandoned};
pub use compatible::{ArgumentSources, compatible};
pub use failure::{Failure, FailureNote, Trial};
pub use journal::Intent;
pub use observe::Observed;
pub use plan::{Operation, Step, Target, plan};
pub use state::{DeploymentRecord, StagedRecord, StateStore, SystemRecord};
pub use status::{DeploymentStatus, Status};
pub use units::UNITS;
pub use verbs::{InstallRequest, UpdateMode, UpdateOutcome, UpdateRequest};

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    backend::StorageBackend,
    bootloader::Bootloader,
    error::Result,
    model::{ImageReference, ImageSummary, KernelCmdline, Progress},
    transport::policy::ImagePolicy,
};

/// Looks an image up before anything of it is fetched.
#[async_trait]
pub trait ImageLookup: Debug + Send + Sync {
    /// Manifest and configuration of `image`, for this machine's architecture.
    ///
    /// # Errors
    /// `Unsupported` for an image of another architecture, `NotFound`, `Integrity`, `Interrupted`.
    async fn look_up(&self, image: &ImageReference) -> Result<ImageSummary>;
}

/// All that an engine works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where trees are.
    pub backend: Arc<dyn StorageBackend>,
    /// What boots them.
    pub loader: Arc<dyn Bootloader>,
    /// The engine's own records.
    pub state: StateStore,
    /// How images are looked up.
    pub images: Arc<dyn ImageLookup>,
    /// Which images are let in: asked for every image, whatever its transport and backend, before anything is fetched.
    pub policy: ImagePolicy,
    /// The command line of the running kernel; empty when working on a disk that is not running.
    pub running_cmdline: KernelCmdline,
    /// `/proc/sys/kernel/random/boot_id` of the running kernel.
    pub boot_id: String,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
    /// How long to wait for another command to end.
    pub patience: Duration,
}

/// Runs operations on one system.
#[derive(Debug)]
pub struct Engine {
    parts: Parts,
}

impl Engine {
    /// An engine for these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The engine's own records, for a caller that holds the lock over several verbs.
    pub fn state(&self) -> &StateStore {
        &self.parts.state
    }
}
