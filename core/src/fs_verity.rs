//! What backends that have the kernel verify their files share.

use crate::registry::Verity;

/// Arguments for `mkfs`, so that files of this file system can have fs-verity if that is demanded. Empty for a file system that always has it,
/// and for one that never does, which shows when the store is made.
pub fn mkfs_args(filesystem: &str, demand: Verity) -> Vec<String> {
    match (filesystem, demand) {
        // fs-verity wants blocks of the page's size, and mkfs.ext4 takes smaller ones for a small disk.
        ("ext4", Verity::Required) => ["-b", "4096", "-O", "verity"].map(str::to_owned).to_vec(),
        // btrfs has fs-verity always, xfs not yet.
        _ => Vec::new(),
    }
}
