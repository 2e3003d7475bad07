//! One changed bit in each file in turn, in the store and on the ESP: `fsck` names that file, and says so by its exit status.

use std::path::Path;

use crate::{
    support::TinyImage,
    system::{System, files},
};

/// spec: BW-311, BW-620
#[test]
fn fsck_names_the_file_in_which_a_bit_has_changed() {
    let image = TinyImage::new();
    let system = System::install(&image, &image.reference(), "systemd-boot");
    system.assert_clean();
    let roots = [
        system.path("boot/efi/bootwright"),
        system.path("boot/efi/loader/entries"),
        system.path("composefs/objects"),
    ];
    let all: Vec<_> = roots.iter().flat_map(|root| files(Path::new(root))).collect();
    assert!(all.len() > 5, "{all:?}");
    let mut missed = Vec::new();
    for path in &all {
        let good = std::fs::read(path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        // Objects are immutable by fs-verity; damage happens below that.
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bad).unwrap();
        let run = system.run(&["fsck"]);
        let said = String::from_utf8(run.stdout).unwrap();
        let relative = path.strip_prefix(system.path("")).unwrap();
        let relative = relative.strip_prefix("boot/efi").unwrap_or(relative).display().to_string();
        let named = said.lines().filter(|line| line.starts_with(&format!("{relative}:"))).count();
        if run.status.success() || named != 1 || !said.ends_with(" 1 problems\n") {
            missed.push(format!("{relative}: {said}"));
        }
        std::fs::write(path, good).unwrap();
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    system.assert_clean();
}
