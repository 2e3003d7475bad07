//! `cfsctl`, the program of the composefs project: imports are compared with it, and it is asked about our repositories.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{steps, workspace::Workspace};

/// The version that our backend's crates have.
pub const VERSION: &str = "0.9.4";

/// Builds it into this folder, unless it is there; `arguments` are for `cargo install`.
pub fn build(workspace: &Workspace, folder: &Path, arguments: &[&str]) -> Result<PathBuf> {
    let program = folder.join("bin/cfsctl");
    if !program.exists() {
        steps::run(&mut command(workspace, folder, arguments))?;
    }
    Ok(program)
}

/// The command that [`build`] runs.
pub fn command(workspace: &Workspace, folder: &Path, arguments: &[&str]) -> Command {
    let version = format!("composefs-ctl@{VERSION}");
    let mut command = workspace.cargo(&["install", "--locked", &version, "--root"]);
    command.arg(folder).args(arguments);
    command
}
