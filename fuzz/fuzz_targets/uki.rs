//! PE images: headers and texts of UKIs, and addons made from any stub.
#![no_main]

use std::io::Read as _;

use bootwright_core::uki::{Part, PeHeaders, UkiInfo, UkiParts, addon, synthetic};
use bootwright_fuzz::{proportional, within};
use libfuzzer_sys::fuzz_target;

/// Headers are read into a buffer of this size, and then sections into strings.
const HEADERS: usize = 256 << 10;

fuzz_target!(|input: &[u8]| {
    let limit = HEADERS + proportional(input);
    let info = within(limit, || UkiInfo::parse(input));
    if let Ok(info) = &info {
        let end = input.len() as u64;
        for span in info.linux.iter().chain(&info.initrd) {
            assert!(span.offset.checked_add(span.size).is_some_and(|to| to <= end), "{span:?} of {end}");
        }
        let line = info.cmdline();
        assert_eq!(line.to_string().parse().ok(), Some(line));
        let _ = info.os_release_value("ID");
    }
    // Sections are padded to at most 64 KiB.
    within(limit + (1 << 20), || add_to(input));
    within(limit + (1 << 20), || assemble(input));
});

/// Whatever stub is accepted and readable: what was put in is found again, unless the stub had a section of that name already.
fn add_to(stub: &[u8]) {
    let line = "console=ttyS0 a=\"b c\"".parse().expect("a good command line");
    let Ok(built) = addon(stub.to_vec(), &line) else { return };
    let headers = PeHeaders::parse(stub).expect("the headers were read to add to them");
    let taken = headers.section(".cmdline").or(headers.section(".profile")).is_some();
    if !taken && UkiInfo::parse(stub).is_ok() {
        let info = UkiInfo::parse(&built).expect("what was built is readable");
        assert_eq!(info.cmdline(), line);
    }
}

/// The input as kernel: it comes out as it went in.
fn assemble(kernel: &[u8]) {
    let parts = UkiParts {
        os_release: "ID=x\n".to_owned(),
        cmdline: "quiet".parse().expect("a good command line"),
        uname: None,
        initrds: vec![Part::bytes(*b"abc")],
        devicetree: None,
        kernel: Part::bytes(kernel),
    };
    let Ok(mut assembly) = parts.assemble(synthetic::stub()) else { return };
    let (size, mut built) = (assembly.size(), Vec::new());
    assembly.read_to_end(&mut built).expect("parts in memory can be read");
    assert_eq!(built.len() as u64, size);
    let span = UkiInfo::parse(&built).ok().and_then(|info| info.linux).expect("the kernel is in it");
    let start = usize::try_from(span.offset).expect("an offset in memory");
    assert_eq!(&built[start..][..kernel.len()], kernel);
}
