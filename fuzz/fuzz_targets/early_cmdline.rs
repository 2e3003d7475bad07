//! The command line in early boot, where one opinion counts: nothing that is appended may change which root is started, or how.
#![no_main]

#[path = "../../backends/composefs/initramfs/src/cmdline.rs"]
mod cmdline;

use bootwright_core::model::KernelCmdline;
use bootwright_fuzz::{proportional, split, text, within};
use cmdline::{Algorithm, CmdlineError, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (line, more) = split(input);
    let (line, more) = (text(line), text(more));
    let read = within(proportional(input), || parse(&line));
    others_see_it(&line, read != Err(CmdlineError::Missing));
    let Ok(root) = read else { return };
    let length = if root.algorithm == Algorithm::Sha256 { 64 } else { 128 };
    assert_eq!(root.digest.len(), length);
    // It becomes the name of a file.
    assert!(root.digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert!(root.verity_required || line.contains('?'));
    // A quote that does not end takes what follows into itself.
    for (first, second) in [(&line, &more), (&more, &line)] {
        if first.matches('"').count().is_multiple_of(2) {
            let both = parse(&format!("{first} {second}"));
            assert!(both.is_err() || both.as_ref() == Ok(&root), "{first:?}, {second:?}");
        }
    }
});

/// What early boot takes for a root argument, core takes for one as well: it refuses arguments that would override the root.
fn others_see_it(line: &str, seen: bool) {
    if line.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return;
    }
    let parsed = KernelCmdline::parse_lossy(line);
    let ours = ["composefs", "composefs.digest"]
        .iter()
        .any(|key| parsed.iter().any(|arg| arg.sets(key) && arg.value().is_some()));
    assert_eq!(ours, seen, "core and early boot disagree whether {line:?} has a root argument");
}
