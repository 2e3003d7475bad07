//! The command line in early boot, where one opinion counts: nothing that is appended may change which root is started, or how.
#![no_main]

#[path = "../../backends/composefs/initramfs/src/cmdline.rs"]
mod cmdline;

use bootwright_core::model::KernelCmdline;
use bootwright_fuzz::{proportional, split, text, within};
use cmdline::{Algorithm, RootArgument, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (line, more) = split(input);
    let (line, more) = (text(line), text(more));
    let Ok(root) = within(proportional(input), || parse(&line)) else { return };
    let length = if root.algorithm == Algorithm::Sha256 { 64 } else { 128 };
    assert_eq!(root.digest.len(), length);
    // It becomes the name of a file.
    assert!(root.digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert!(root.verity_required || line.contains('?'));
    unmoved(&root, &format!("{line} {more}"));
    unmoved(&root, &format!("{more} {line}"));
    others_see_it(&root, &line);
});

/// A line with this one in it names the same root, or none at all.
fn unmoved(root: &RootArgument, line: &str) {
    // A quote that does not end takes the other line into itself.
    if line.matches('"').count() % 2 == 0 && !line.starts_with('"') {
        if let Ok(other) = parse(line) {
            assert!(other == *root || line.matches('"').count() > 0, "{line:?}");
        }
    }
}

/// What early boot takes for a root argument, core takes for one as well: it refuses arguments that would override the root.
fn others_see_it(root: &RootArgument, line: &str) {
    if line.contains('\0') || line.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return;
    }
    let parsed = KernelCmdline::parse_lossy(line);
    let ours = parsed.iter().filter(|arg| ["composefs", "composefs.digest"].contains(&arg.key()));
    assert!(ours.count() > 0, "core sees no root argument in {line:?}, early boot sees {root:?}");
}
