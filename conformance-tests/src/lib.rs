//! The conformance suite of Bootwright, and what it needs to run: images to install, virtual machines to
//! boot them in, and the system packages that both depend on.
//!
//! - [`images`] composes Debian as an OCI image, and derives changed or broken images from it;
//! - [`vm`] drives QEMU and talks to the guest agent;
//! - [`oracle`] tells what a disk would boot, without the plugins;
//! - [`powercut`] cuts the power at every moment of a machine's life, and looks at what is left;
//! - [`suite`] holds the cases and what they run on;
//! - [`packages`] installs the tools that the other two call.

pub mod cargo;
pub mod host;
pub mod images;
pub mod lifecycle;
pub mod oracle;
pub mod packages;
pub mod powercut;
pub mod runner;
pub mod suite;
pub mod system;
pub mod vm;
