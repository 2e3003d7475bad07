//! The programs that make and look at disks, with the packages that bring them.

use bootwright_core::{Result, process::Tool};

/// Program, its package on Debian, its package on Fedora.
const PACKAGES: [(&str, &str, &str); 10] = [
    ("sfdisk", "fdisk", "util-linux"),
    ("losetup", "mount", "util-linux"),
    ("partx", "util-linux", "util-linux"),
    ("wipefs", "util-linux", "util-linux"),
    ("blkid", "util-linux", "util-linux"),
    ("mkfs.vfat", "dosfstools", "dosfstools"),
    ("mkfs.ext4", "e2fsprogs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs", "btrfs-progs"),
    ("mkfs.xfs", "xfsprogs", "xfsprogs"),
    ("mcopy", "mtools", "mtools"),
];

/// A run of `program` that can say where to get it.
pub fn tool(program: &str) -> Tool {
    let tool = Tool::new(program);
    match PACKAGES.iter().find(|(name, ..)| *name == program) {
        Some((_, debian, fedora)) => tool.package(*debian).fedora_package(*fedora),
        None => tool,
    }
}

/// Checks that programs can be started, before anything is touched.
///
/// # Errors
/// `Unsupported` naming the first that is missing, and its package.
pub fn require(programs: &[&str]) -> Result<()> {
    programs.iter().try_for_each(|program| tool(program).arg("--version").output_blocking().map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_before_anything_starts() {
        let error = require(&["sfdisk", "no-such-program"]).unwrap_err();
        assert!(error.message().contains("no-such-program"), "{error}");
    }
}
