//! A backend, a bootloader and images in memory: the reference model that the real plugins are compared with, and the worked example
//! for plugin authors.
//!
//! A [`FakeMachine`] is a disk that survives crashes: open it as often as needed, each time with another fault plan.

mod backend;
mod disk;
mod etc;
mod images;
mod loader;
mod machine;
mod tree;

pub use backend::FakeBackend;
pub use disk::{FakeCheckpoint, FakeSeen};
pub use images::{FakeFlaw, FakeImage, FakeImages};
pub use loader::FakeLoader;
pub use machine::FakeMachine;
#[cfg(test)]
pub(crate) use tree::FakeTree;
