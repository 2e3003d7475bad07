//! The state of a machine's disks and firmware as a comparable value.

use anyhow::Result;

use super::scripts;
use crate::{lifecycle::Guest, suite::Fingerprint};

/// Takes it.
///
/// # Errors
/// When the guest does not answer.
pub fn take(guest: &mut Guest) -> Result<Fingerprint> {
    Ok(parse(&scripts::fingerprint(guest)?))
}

fn parse(text: &str) -> Fingerprint {
    let mut all = Fingerprint::default();
    for (name, content) in text.lines().filter_map(|line| line.split_once('\t')) {
        all.add(name, content);
    }
    all
}
