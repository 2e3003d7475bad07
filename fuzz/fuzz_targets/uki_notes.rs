//! Notes on the ESP about what was published, and names of UKIs there; anything can write to an ESP.
#![no_main]

#[path = "../../bootloaders/uki/src/names.rs"]
mod names;
#[path = "../../bootloaders/uki/src/plans.rs"]
mod plans;

use bootwright_fuzz::{proportional, text, within};
use libfuzzer_sys::fuzz_target;
use names::UkiName;
use plans::Notes;

fuzz_target!(|input: &[u8]| {
    let text = text(input);
    let notes = within(proportional(input), || Notes::parse(&text));
    let printed = notes.print();
    assert_eq!(Notes::parse(&printed).print(), printed);
    for line in text.lines() {
        if let Some(name) = UkiName::parse_file(line) {
            assert_eq!(UkiName::parse(&name.stem()).as_ref(), Some(&name));
            assert_eq!(UkiName::parse_efi_path(&name.efi_path()).as_ref(), Some(&name));
            let _ = notes.line(&name);
            assert!(name.path().split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
        }
        let _ = UkiName::parse_efi_path(line);
    }
});
