//! What a person can do with one system, whatever it is made of.

pub mod calls;
mod contract;

pub use contract::{Damage, Filler, InstallOptions, PluginCall, Reuse, UpgradeMode, World, WorldFactory};
