//! The engine's own records and journal, which a damaged disk may change. The first byte chooses.
#![no_main]

use bootwright_core::engine::{Abandoned, DeploymentRecord, FailureNote, Intent, StagedRecord, SystemRecord};
use bootwright_fuzz::{proportional, within};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    match choice % 6 {
        0 => settles::<SystemRecord>(rest),
        1 => settles::<StagedRecord>(rest),
        2 => settles::<DeploymentRecord>(rest),
        4 => settles::<Vec<Abandoned>>(rest),
        5 => settles::<FailureNote>(rest),
        _ => settles::<Intent>(rest),
    }
});

/// What was accepted is written and read again as the same.
fn settles<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = within(proportional(bytes), || serde_json::from_slice::<T>(bytes)) else { return };
    let written = serde_json::to_vec_pretty(&read).expect("a record can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).ok(), Some(read));
}
