//! `cargo xtask fuzz`: builds the fuzz targets with coverage, and runs each over its corpus for a while.
//!
//! Nothing but the stable toolchain and a C++ compiler is needed: what `cargo-fuzz` would add are compiler flags, which are given here.

mod build;
mod outcome;
mod run;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};

use crate::{count::Count, workspace::Workspace};
use build::Build;
use run::{Corpus, Plan};

pub use build::{MANIFEST, command as build_command};

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// One target; without it, all of them
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many targets run at the same time
    #[arg(long, default_value = "1")]
    jobs: NonZeroUsize,
    /// Run this one input instead, to see what it does
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
}

/// Runs what was chosen. Inputs that reach new code are kept below `target/fuzz/corpus`, where the next run goes on from them.
///
/// # Errors
/// When the targets cannot be built, or there is no such target.
pub fn command(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find();
    let targets = chosen(build::targets(&workspace)?, arguments.target.as_deref())?;
    let build = Build::make(&workspace, &targets)?;
    if let (Some(input), [target]) = (&arguments.input, targets.as_slice()) {
        let good = build.command(target).arg(input).status()?.success();
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let plan = Plan { seconds: arguments.seconds, jobs: arguments.jobs, corpus: Corpus::Growing };
    let count = run::all(&build, &targets, plan)?;
    println!("{count}");
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The bounded run of the test suite: every target for a few seconds, always from the committed corpus, with the same random numbers.
///
/// # Errors
/// When the targets cannot be built.
pub fn bounded(workspace: &Workspace, seconds: u64) -> Result<Count> {
    let targets = build::targets(workspace)?;
    let build = Build::make(workspace, &targets)?;
    let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    run::all(&build, &targets, Plan { seconds, jobs, corpus: Corpus::Committed })
}

fn chosen(all: Vec<String>, wanted: Option<&str>) -> Result<Vec<String>> {
    let Some(wanted) = wanted else { return Ok(all) };
    if all.iter().any(|target| target == wanted) {
        return Ok(vec![wanted.to_owned()]);
    }
    bail!("there is no fuzz target {wanted:?}; there are {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_refused_with_a_list_of_those_that_exist() {
        let all = || ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(chosen(all(), None).unwrap(), all());
        assert_eq!(chosen(all(), Some("b")).unwrap(), ["b"]);
        assert!(chosen(all(), Some("c")).unwrap_err().to_string().contains("a, b"));
    }
}
