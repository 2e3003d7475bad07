//! What an image says about itself: kernel arguments, install defaults, os-release. The first byte chooses.
#![no_main]

use bootwright_core::{
    Error,
    image_config::{InstallFile, OsRelease, kargs},
    model::KernelCmdline,
};
use bootwright_fuzz::{text, within};
use libfuzzer_sys::fuzz_target;

const FILE: &str = "some/file.toml";

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let text = text(rest);
    // The TOML library keeps a tree with places; dotted keys and arrays of tables are its most expensive things.
    let limit = (1 << 20) + rest.len() * 4096;
    within(limit, || match choice % 3 {
        0 => {
            if let Some(line) = named(kargs::parse(FILE, &text, "x86_64")) {
                printable(&line);
            }
        }
        1 => {
            if let Some(file) = named(InstallFile::parse(FILE, &text)) {
                printable(&file.defaults.kargs);
                let twice = &mut file.defaults.clone();
                twice.merge(file.defaults.clone());
                assert_eq!(twice.root_filesystem(), file.defaults.root_filesystem());
                assert_eq!(twice.default_block(), file.defaults.default_block());
                let kind = file.defaults.root_filesystem().unwrap_or("ext4");
                assert!(kind.bytes().all(|b| b.is_ascii_alphanumeric()), "mkfs.{kind}");
            }
        }
        _ => {
            if let Some(release) = named(OsRelease::parse(FILE, &text)) {
                for value in [release.id(), release.pretty_name()] {
                    assert!(!value.is_empty() && !value.contains('\n'), "{value:?}");
                }
                let _ = release.version();
            }
        }
    });
});

/// An error names the file.
fn named<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(|error| assert!(error.message().contains(FILE), "{error}")).ok()
}

fn printable(line: &KernelCmdline) {
    assert_eq!(line.to_string().parse().ok().as_ref(), Some(line));
}
