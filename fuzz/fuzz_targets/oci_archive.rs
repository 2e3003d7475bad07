//! Image archives: the walk over tar headers, which believes no length that the file does not have.
#![no_main]

use std::{
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    sync::LazyLock,
};

use bootwright_core::transport::inspect_blocking;
use bootwright_fuzz::within;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

static FILE: LazyLock<File> =
    LazyLock::new(|| memfd_create("archive", MemfdFlags::CLOEXEC).expect("a file in memory").into());

fuzz_target!(|input: &[u8]| {
    FILE.set_len(0).expect("cut the file");
    FILE.write_all_at(input, 0).expect("write the file");
    let reference = format!("oci-archive:/proc/self/fd/{}", FILE.as_raw_fd());
    let reference = reference.parse().expect("a good reference");
    // The tar library reads long names in pieces of 128 KiB.
    let limit = (1 << 20) + input.len() * 256;
    if let Ok(image) = within(limit, || inspect_blocking(&reference, Some("amd64"))) {
        assert_eq!(image.architecture, "amd64");
    }
});
