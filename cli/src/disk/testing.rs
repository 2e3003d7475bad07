//! Disks for tests.

use super::tool::tool;

/// The first 64 KiB of a disk with a partition table of two entries, made by `sfdisk`.
pub fn two_partitions() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let script = "label: gpt\nsize=10M\nsize=20M\n";
    tool("sfdisk").arg("--quiet").arg(file.path()).stdin(script).run_blocking().unwrap();
    let mut bytes = std::fs::read(file.path()).unwrap();
    bytes.truncate(64 << 10);
    bytes
}
