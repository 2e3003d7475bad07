//! `cargo xtask conformance`, `cargo xtask merge-reports` and `cargo xtask matrix`.
//!
//! The suite is a program of its own: it links every plugin, and so needs system libraries that this one must do without.

pub mod merge;
mod readme;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use bootwright_conformance::{host, packages};
use clap::Args;

use crate::workspace::Workspace;

/// What the runner understands, handed on as it is.
#[derive(Debug, Args)]
pub struct Arguments {
    /// --backend B, --boot L, --format split|unified, --tier fakes|loop|vm, --case TEXT, --jobs N, --shard I/N, …;
    /// `cargo xtask conformance -- --help` tells all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

fn read(path: &std::path::Path) -> Result<bootwright_conformance::runner::Report> {
    let what = || format!("read {}; `cargo xtask conformance` writes it", path.display());
    serde_json::from_slice(&std::fs::read(path).with_context(what)?).with_context(what)
}

/// The suite, in the profile of the programs in test images.
const RUNNER: [&str; 6] =
    ["--profile", "image", "-p", "bootwright-conformance", "--bin", "bootwright-conformance"];

/// A command that runs the suite with these arguments, in the profile of the programs in test images: what they need is built anyway,
/// and unoptimised the tier of fakes takes twice as long.
pub fn command(workspace: &Workspace, arguments: &[&str]) -> Command {
    workspace.cargo(&[&["run", "--quiet"][..], &RUNNER, &["--"], arguments].concat())
}

/// A command that builds it.
pub fn build(workspace: &Workspace) -> Command {
    workspace.cargo(&[&["build"][..], &RUNNER].concat())
}

/// Runs the suite, which is not built, and boots nothing, without some packages; its exit status is ours.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    if let Err(error) = packages::ensure_installed(&|line| println!("{line}")) {
        // What is asked for may need none of them; cases that do are ignored for it.
        println!("note: {error:#}");
    }
    let arguments: Vec<_> = arguments.runner.iter().map(String::as_str).collect();
    let status = command(workspace, &arguments).status().context("start the suite")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where `cargo xtask test` leaves the report of the virtual machines, beside that of the other tiers.
pub const VM_REPORT: &str = "target/conformance/vm";

/// Rewrites the README's matrix from the reports of the last run.
pub fn matrix(workspace: &Workspace) -> Result<()> {
    let folder = host::target_dir().join("conformance");
    let mut report = read(&folder.join("report.json"))?;
    let machines = folder.join("vm/report.json");
    if machines.exists() {
        report.cells.extend(read(&machines)?.cells);
    }
    let path = workspace.root().join("README.md");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, readme::with_matrix(&text, &report)?)?;
    Ok(())
}
