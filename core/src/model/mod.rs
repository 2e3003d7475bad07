//! Plain types, validated when made, without any I/O.

mod cmdline;
mod deployment;
mod digest;
mod id;
mod image;
mod kernel;
mod plan;
mod progress;
mod unit;

pub use cmdline::{KernelArg, KernelCmdline};
pub use deployment::{DeploySpec, Deployment, Removed, VerifyProblem, VerifyReport};
pub use digest::Digest;
pub use id::{DeploymentId, EntryId, Stateroot};
pub use image::{ImageReference, ImageSummary, LayerSummary, PinnedImage, Transport};
pub use kernel::{Addon, Blob, BootArtifacts, KernelArtifacts};
pub use plan::{BootChoice, BootPlan, BootState, EntrySpec, PlannedEntry, PublishedEntry, SpaceNeed};
pub use progress::{NoProgress, Progress, ProgressEvent};
pub use unit::UnitName;
