//! The middle tier: real plugins on loop-mounted disks. Boot files are read, and the running root is found, by [`crate::oracle`].
//!
//! Needs root, `e2fsprogs` and `dosfstools`. Mounts and loop devices end with the world, also when a case fails; a runner that has a mount
//! namespace of its own loses them even when it is killed.

mod disk;
mod factory;
mod images;
mod loader_files;
mod snapshot;
mod world;

pub use factory::{LoopFactory, cells};
pub use world::LoopWorld;
pub(super) use world::PROPERTIES;
