//! Checks of the source tree that no compiler makes.

mod code;
mod headers;
mod licences;
mod links;
mod places;
mod plugin_names;
mod policy;
mod spdx;
mod specification;
mod units;
mod workflows;

use anyhow::{Result, bail};

use crate::{
    steps::Steps,
    workspace::{Metadata, SourceFile, Workspace},
};
use policy::Policy;

/// What the checks look at, read once.
#[derive(Debug)]
pub struct Input {
    workspace: Workspace,
    sources: Vec<SourceFile>,
    metadata: Metadata,
    policy: Policy,
}

impl Input {
    /// Reads the source tree, the policy and cargo's metadata.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        Ok(Self {
            workspace: workspace.clone(),
            sources: workspace.sources()?,
            metadata: workspace.metadata()?,
            policy: Policy::read(workspace)?,
        })
    }
}

/// Each check returns what is wrong, one line each.
type Check = fn(&Input) -> Vec<String>;

const CHECKS: [(&str, Check); 7] = [
    ("licences of all dependencies", licences::check),
    ("core and cli name no plugin", plugin_names::check),
    ("the specification and the tests agree", specification::check),
    ("no registry and no path of one machine", places::check),
    ("links between documents", links::check),
    ("each file says what it is for", headers::check),
    ("workflows of continuous integration", workflows::check),
];

/// Runs all of them.
pub fn all(input: &Input, steps: &mut Steps) {
    for (name, check) in CHECKS {
        steps.check(name, || no_problems(&check(input)));
    }
    if let Some(verifier) = units::verifier() {
        steps.check("systemd units", || no_problems(&units::check(input, &verifier)?));
    } else {
        steps.note("skipped, since systemd-analyze is not installed: the check of systemd units");
    }
}

fn no_problems(problems: &[String]) -> Result<()> {
    for problem in problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        1 => bail!("1 problem"),
        n => bail!("{n} problems"),
    }
}
