//! `cargo xtask demo`: the whole life of an installed system, to watch. A placeholder until it is written.

use anyhow::{Result, bail};

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Shows it.
pub fn run(_arguments: &Arguments) -> Result<()> {
    bail!("the demo is not there yet")
}
