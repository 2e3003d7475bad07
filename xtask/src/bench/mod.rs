//! `cargo xtask bench`: imports and boots, measured. A placeholder until it is written.

use anyhow::{Result, bail};

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Measures.
pub fn run(_arguments: &Arguments) -> Result<()> {
    bail!("the benchmarks are not there yet")
}
