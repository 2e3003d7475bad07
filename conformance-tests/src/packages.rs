//! The system packages that images, virtual machines and the build need, and their installation.

pub mod apt;
mod install;
mod requirements;

pub use install::ensure_installed;
pub use requirements::{Probe, REQUIREMENTS, Requirement, missing};
