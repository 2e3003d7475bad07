//! The suite's third tier: real firmware, a real kernel, and what a person types at a prompt.
//!
//! The host's program installs; everything else is done by the guest's own, through the agent. Images that a case makes while the
//! machine runs reach it by a disk that the host writes while they run.

mod eyes;
mod factory;
mod fingerprint;
mod health;
mod images;
mod look;
mod mailbox;
pub mod scripts;
mod status;
mod world;

pub use factory::VmFactory;
pub(super) use world::PROPERTIES;
