//! The programs that are compared: our own import, and `cfsctl` of the composefs project.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use bootwright_conformance::host;
use serde::Serialize;

use super::say;
use crate::{
    cfsctl::{self, VERSION as CFSCTL},
    steps,
    workspace::Workspace,
};

const CRATE: &str = "bootwright-backend-composefs";
/// The name that the image gets in the other tool's repository.
const NAME: &str = "bench";

/// Who imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// The composefs backend of this workspace.
    Bootwright,
    /// `cfsctl`.
    Cfsctl,
}

impl Tool {
    /// Both, in the order in which they take turns.
    pub const BOTH: [Self; 2] = [Self::Bootwright, Self::Cfsctl];
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bootwright => "bootwright",
            Self::Cfsctl => "cfsctl",
        })
    }
}

/// Both programs, built.
#[derive(Debug)]
pub struct Tools {
    import: PathBuf,
    cfsctl: PathBuf,
    /// Which builds they are, for the report.
    pub described: String,
}

impl Tools {
    /// Builds our program, and installs the other one below `folder` unless it is there.
    pub fn make(workspace: &Workspace, folder: &Path, profile: &str) -> Result<Self> {
        say("building the program that imports");
        let arguments = ["build", "--quiet", "--profile", profile, "--package", CRATE, "--example", "import"];
        steps::run(&mut workspace.cargo(&arguments))?;
        // The book calls the folder of the profile `dev` so.
        let built = if profile == "dev" { "debug" } else { profile };
        Ok(Self {
            import: host::target_dir().canonicalize()?.join(built).join("examples/import"),
            cfsctl: cfsctl(workspace, folder)?,
            described: format!(
                "bootwright {} (cargo profile {profile}), cfsctl {CFSCTL} (cargo install)",
                env!("CARGO_PKG_VERSION")
            ),
        })
    }

    /// What imports `image` into `folder`, which exists; `fresh` if nothing was imported there yet.
    pub fn import(&self, tool: Tool, folder: &Path, image: &str, fresh: bool) -> Vec<Command> {
        match tool {
            Tool::Bootwright => vec![self.ours(&[], folder, image)],
            Tool::Cfsctl => {
                let init = ["init", "--insecure", "--algorithm", "fsverity-sha256-12"];
                let pull = ["oci", "pull", "--bootable", image, NAME];
                let init = fresh.then(|| self.theirs(folder, &init));
                init.into_iter().chain([self.theirs(folder, &pull)]).collect()
            }
        }
    }

    /// What finds out that `image` is in `folder` already.
    pub fn check(&self, folder: &Path, image: &str) -> Command {
        self.ours(&["--check"], folder, image)
    }

    fn ours(&self, options: &[&str], folder: &Path, image: &str) -> Command {
        let mut command = host::privileged(&self.import.to_string_lossy());
        command.args(options).arg(folder).arg(image);
        command
    }

    fn theirs(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = host::privileged(&self.cfsctl.to_string_lossy());
        command.arg("--repo").arg(folder.join("composefs")).args(arguments);
        command
    }
}

fn cfsctl(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let root = folder.join(format!("cfsctl-{CFSCTL}"));
    say("cfsctl to compare with: where it is missing, it is built, which takes some minutes");
    cfsctl::build(workspace, &root, &[])
}
