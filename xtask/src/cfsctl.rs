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
    if let Some(mut command) = command(workspace, folder, arguments) {
        steps::run(&mut command)?;
    }
    Ok(program(folder))
}

/// The command that [`build`] runs; `None` if the program is there.
pub fn command(workspace: &Workspace, folder: &Path, arguments: &[&str]) -> Option<Command> {
    if program(folder).exists() {
        return None;
    }
    let version = format!("composefs-ctl@{VERSION}");
    let mut command = workspace.cargo(&["install", "--locked", &version, "--root"]);
    command.arg(folder).args(arguments);
    Some(command)
}

fn program(folder: &Path) -> PathBuf {
    folder.join("bin/cfsctl")
}
