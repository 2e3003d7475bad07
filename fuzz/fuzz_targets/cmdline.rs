//! Kernel command lines: from firmware, UKIs, boot entries, images and people.
#![no_main]

use bootwright_core::model::{KernelArg, KernelCmdline};
use bootwright_fuzz::{proportional, split, text, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (one, other) = split(input);
    let read = |bytes: &[u8]| within(proportional(input), || KernelCmdline::parse_lossy(&text(bytes)));
    let (one, other) = (read(one), read(other));
    for line in [&one, &other] {
        reads_back(line);
        strict(line);
    }
    let merged = one.merged_with(&other);
    assert!(merged.contains_all(&one) && merged.contains_all(&other));
    assert_eq!(merged.merged_with(&other), merged);
    // The arguments of one line do not swallow those of the next.
    reads_back(&merged);
    let rest = merged.without(&other);
    assert!(rest.iter().all(|arg| !other.contains(arg)));
    let mut fewer = merged.clone();
    if let Some(key) = merged.iter().next().map(|arg| arg.key().to_owned()) {
        assert!(fewer.remove_key(&key) && !fewer.remove_key(&key));
        reads_back(&fewer);
    }
});

fn reads_back(line: &KernelCmdline) {
    assert_eq!(&KernelCmdline::parse_lossy(&line.to_string()), line, "{line}");
    // Records keep it as JSON.
    let json = serde_json::to_string(line).expect("text is JSON");
    assert_eq!(serde_json::from_str::<KernelCmdline>(&json).ok().as_ref(), Some(line), "{json}");
}

/// What is kept is what the strict form would have taken.
fn strict(line: &KernelCmdline) {
    for arg in line.iter() {
        assert_eq!(KernelArg::new(arg.as_str()).ok().as_ref(), Some(arg));
        assert!(!arg.as_str().chars().any(char::is_control), "{arg:?}");
    }
    assert_eq!(line.to_string().parse().ok().as_ref(), Some(line));
}
