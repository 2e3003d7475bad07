//! The folder that a signed GRUB looks in: the program comes from an image.
#![no_main]

#[path = "../../bootloaders/grub2/src/prefix.rs"]
mod prefix;

use bootwright_fuzz::{proportional, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(folder) = within(proportional(input), || prefix::folder(input)) {
        let (efi, name) = folder.split_once('/').expect("a folder below EFI");
        assert!(efi.eq_ignore_ascii_case("EFI") && !name.is_empty() && !name.contains(['/', '.']));
    }
});
