//! EFI load options and device paths, as firmware of any quality gives them.
#![no_main]

use bootwright_core::efi::load_option::{
    LoadOption, numbers_to_bytes, parse_numbers, parse_variable_name, variable_name,
};
use bootwright_fuzz::{proportional, text, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(option) = within(proportional(input), || LoadOption::parse(input)) {
        // An end node is added where the path had none: only a path of nearly 64 KiB has no room for it.
        match option.to_bytes() {
            Ok(bytes) => assert_eq!(LoadOption::parse(&bytes).ok().as_ref(), Some(&option)),
            Err(error) => assert!(input.len() > 65_000, "{error}"),
        }
        assert!(option.file().is_none_or(|file| !file.contains('\0')));
        let _ = option.partition();
    }
    let numbers = parse_numbers(input);
    assert_eq!(numbers_to_bytes(&numbers), &input[..input.len() & !1]);
    if let Some(number) = parse_variable_name(&text(input)) {
        assert_eq!(variable_name(number).as_bytes(), input);
    }
});
