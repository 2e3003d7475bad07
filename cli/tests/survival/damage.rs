//! One changed bit in each file in turn, in the store and on the ESP: `fsck` names that file, and says so by its exit status.

use std::path::{Path, PathBuf};

use crate::{
    support::TinyImage,
    system::{System, files},
};

/// Damages a file by one bit, and returns what is to be put back in its place: links to it and what else an inode has stay as they are.
fn damage(system: &System, path: &Path) -> PathBuf {
    let good = PathBuf::from(system.path("good"));
    // Objects are immutable by fs-verity; damage happens below that.
    std::fs::rename(path, &good).unwrap();
    std::fs::copy(&good, path).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    good
}

/// Whether there is a bit in it.
fn has_content(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// Of an installed system with this store below its root.
fn every_bit_counts(backend: &'static str, store: &str) {
    let image = TinyImage::new();
    let system = System::install(&image, &image.reference(), (backend, "systemd-boot"));
    system.assert_clean();
    let roots =
        [system.path("boot/efi/bootwright"), system.path("boot/efi/loader/entries"), system.path(store)];
    let mut all: Vec<_> = roots.iter().flat_map(|root| files(Path::new(root))).collect();
    all.retain(|path| has_content(path));
    assert!(all.len() > 5, "{all:?}");
    let mut missed = Vec::new();
    for path in &all {
        let good = damage(&system, path);
        let run = system.run(&["fsck"]);
        let said = String::from_utf8(run.stdout).unwrap();
        let relative = path.strip_prefix(system.path("")).unwrap();
        let relative = relative.strip_prefix("boot/efi").unwrap_or(relative).display().to_string();
        let named = said.lines().filter(|line| line.starts_with(&format!("{relative}:"))).count();
        if run.status.success() || named != 1 || !said.ends_with(" 1 problems\n") {
            missed.push(format!("{relative}: {said}"));
        }
        std::fs::rename(good, path).unwrap();
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    system.assert_clean();
}

/// spec: BW-311, BW-620
#[test]
fn fsck_names_the_file_in_which_a_bit_has_changed() {
    every_bit_counts("composefs", "composefs/objects");
}

/// spec: BW-311, BW-620
#[cfg(feature = "ostree")]
#[test]
fn fsck_names_the_file_on_ostree_in_which_a_bit_has_changed() {
    every_bit_counts("ostree", "ostree/repo/objects");
}
