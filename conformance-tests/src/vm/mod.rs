//! Virtual machines for tests: real firmware, a real kernel, and an agent that runs commands in the guest.
//!
//! A [`Vm`] is a machine with disks and firmware variables of its own; it can be powered off and on again
//! and keeps both. Every wait has a deadline. When a machine is dropped, QEMU ends and its folder is
//! removed, unless something went wrong or [`Vm::keep`] was called: then the serial log stays to be read.
//!
//! ```no_run
//! use std::time::Duration;
//! use bootwright_conformance::vm::{Disk, Vm};
//! # fn main() -> anyhow::Result<()> {
//! let mut vm = Vm::builder("example").disk(Disk::overlay("disk.img")).start()?;
//! let first = vm.wait_ready(Duration::from_secs(120))?;
//! let kernel = vm.run("uname -r", Duration::from_secs(10))?.success()?.stdout_text();
//! let second = vm.reboot_and_wait(Duration::from_secs(120))?;
//! assert_ne!(first, second);
//! # Ok(()) }
//! ```

mod accel;
mod agent;
mod builder;
mod disk;
mod firmware;
mod machine;
mod process;
mod qemu;
mod qmp;
mod recorded;
pub mod secure_boot;

pub use accel::Accel;
pub use agent::{BootId, Output};
pub use builder::{Vars, VmBuilder};
pub use disk::Disk;
pub use firmware::Firmware;
pub use machine::Vm;
pub use recorded::Recorded;
