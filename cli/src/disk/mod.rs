//! Disks: makes new ones (`install to-disk`), takes those that are mounted (`install to-filesystem`), finds partitions.
//!
//! Everything that is checked is checked before the first write; loop devices and mounts go away with the values that hold them.

pub mod device;
pub mod existing;
pub mod fat;
pub mod filesystem;
pub mod folder;
pub mod gpt;
mod guid;
pub mod identify;
pub mod in_use;
pub mod layout;
pub mod loopdev;
pub mod mount;
pub mod new_disk;
pub mod partition;
pub mod probe;
mod size;
#[cfg(test)]
mod testing;
pub mod tool;

pub use existing::ExistingTarget;
pub use guid::Guid;
pub use layout::Wanted;
pub use new_disk::{CheckedDisk, DiskRequest, MountedTarget, OfflineTarget};
pub use size::ByteSize;
