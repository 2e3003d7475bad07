//! `cargo xtask power-cuts`: what is left on disks when the power is cut at each moment.
//!
//! A program of its own, as the conformance suite; it is optimised, since it looks at thousands of disks, and runs in a mount namespace.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bootwright_conformance::{cargo::build_program, powercut::scratch};
use clap::Args;

/// What the program understands, handed on as it is.
#[derive(Debug, Args)]
pub struct Arguments {
    /// --backend B, --boot L, --format split|unified, --verb V, --states N, --boots N, --seed S;
    /// `cargo xtask power-cuts -- --help` tells all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<String>,
}

/// Runs it; its exit status is ours.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let program = build_program("bootwright-conformance", "bootwright-power-cuts", &["--profile", "image"])?;
    let mut command = scratch::in_own_namespace(&program);
    let status = command.args(&arguments.program).status().context("start the power cuts")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
