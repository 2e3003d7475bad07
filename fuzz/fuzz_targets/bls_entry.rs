//! Boot entries (Type #1): any bytes are read, and what is printed reads back as the same.
#![no_main]

use bootwright_core::bls::Entry;
use bootwright_fuzz::{proportional, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let read = within(proportional(input), || Entry::parse(input));
    let printed = read.to_string();
    // Control characters and blanks at the ends are lost the first time, nothing the second time.
    let settled = Entry::parse(printed.as_bytes());
    assert_eq!(Entry::parse(settled.to_string().as_bytes()), settled);
    // No value can start a line of its own.
    assert!(settled.options.len() <= read.options.len() && settled.initrds.len() <= read.initrds.len());
    assert!(settled.program.is_none() || read.program.is_some());
    assert!(settled.paths().count() <= read.paths().count());
    let line = read.cmdline();
    assert_eq!(line.to_string().parse().ok().as_ref(), Some(&line), "{line}");
});
