//! Power cuts at the level of devices.
//!
//! A machine lives through installation, upgrade, shutdown, first boot, rollback and clean-up while every write and flush of its disk and of its
//! firmware's variables is recorded in one order. Afterwards the disk is rebuilt as a power cut would have left it: at each flush, and between
//! flushes with a seeded choice of the unflushed writes, some of them torn. Each state is recovered by the kernel, and judged by the
//! [oracle](crate::oracle); a sample is booted.
//!
//! - [`life`] and [`installation`] record, by a [`recorder`]; [`images`] makes what is installed;
//! - [`log`] reads the log, [`timeline`] knows what survives where, [`choice`] chooses states;
//! - [`machine`] rebuilds disks, [`scratch`] keeps copies of them, [`root_file_system`] recovers their roots, `grub` reads there as GRUB does, [`fat`] and [`esp`] show the ESP as firmware finds it;
//! - [`tree`] and [`judge`] say what is wrong with a state, [`check`] walks through all of them, [`mod@boot`] boots some;
//! - [`run`] is the command.

pub mod boot;
pub mod check;
pub mod choice;
pub mod esp;
pub mod fat;
pub mod grub;
pub mod images;
pub mod installation;
pub mod judge;
pub mod life;
pub mod log;
pub mod machine;
pub mod random;
pub mod recorder;
pub mod root_file_system;
pub mod run;
pub mod scratch;
pub mod timeline;
pub mod tree;
