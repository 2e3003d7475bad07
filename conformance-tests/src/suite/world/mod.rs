//! What a person can do with one system, whatever it is made of.

pub mod calls;
mod contract;
mod operate;
mod policy;

pub use contract::{Damage, Filler, InstallOptions, PluginCall, Reuse, UpgradeMode, World, WorldFactory};
pub(in crate::suite) use operate::InProcess;
pub use operate::Operate;
pub(in crate::suite) use policy::policy_in;
