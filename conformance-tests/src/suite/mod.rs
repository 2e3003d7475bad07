//! The conformance suite: what every pair of a storage backend and a bootloader has to do, as cases that run on any [`World`].
//!
//! A case says what a person does with one system and what must be seen then. It knows no plugin and no fixture, so the same case
//! runs on fakes in memory, on real plugins with loop-mounted disks, and in virtual machines ([`Tier`]). What a case needs beyond the
//! ordinary it states as [`Demand`]s; where one is not met, the case is shown as ignored with what is missing, never left out.
//!
//! ```
//! use bootwright_conformance::suite;
//! let cases = suite::all_cases();
//! assert!(cases.iter().any(|case| case.name == "rollback::previous_deployment_becomes_default"));
//! ```

mod case;
pub mod cases;
mod cell;
mod demand;
pub mod fakes;
mod fingerprint;
pub mod hostile;
mod image;
pub mod loops;
mod points;
mod seen;
mod trouble;
pub mod vm;
pub mod world;

pub use case::{Case, CaseFuture, CaseResult, Setting, Verdict};
pub use cases::all_cases;
pub use cell::{Cell, Firmware, Tier};
pub use demand::{Demand, Missing, Offer, Property};
pub use fingerprint::Fingerprint;
pub use image::{Channel, Defect, Health, TestImage, Version};
pub use points::Points;
pub use seen::{FsckFindings, Left, Running, SeenEntry, Shown, SystemStatus, Upgraded, is_version};
pub use trouble::{Refusal, Result, Trouble, refused};
pub use world::{
    Damage, Filler, InstallOptions, Operate, PluginCall, Reuse, UpgradeMode, World, WorldFactory,
};
