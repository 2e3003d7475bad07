//! Tests that depend on programs and libraries of other projects as they are on this machine: those that no package brings are built here, and
//! what cannot be shown here is said at the end.

use std::{path::PathBuf, process::Command};

use bootwright_conformance::host;

use super::Runner;
use crate::{cfsctl, steps::Steps, workspace::Workspace};

const PACKAGE: &str = "bootwright-backend-composefs";
/// Tests with this in their name find the program in the variable `CFSCTL`.
const TESTS: &str = "cfsctl";

/// What is asked is whether a repository is whole: nothing needs to be optimised for that, nor much of the program be there.
const SMALL: [&str; 6] =
    ["--debug", "--no-default-features", "--features", "pre-6.15,oci", "--config", "profile.dev.debug=false"];

/// Tests with this in their name show what becomes of an image where libostree is built without composefs.
const WITHOUT: &str = "where_libostree_lacks_composefs";
const WITHOUT_PACKAGE: &str = "bootwright-backend-ostree";

/// Returns how many tests ran.
pub fn tests(workspace: &Workspace, runner: Runner, steps: &mut Steps) -> u64 {
    if !host::is_root() {
        steps.note(
            "skipped, since they need root: the tests that ask cfsctl, and those of what libostree lacks",
        );
        return 0;
    }
    ask_cfsctl(workspace, runner, steps) + without_composefs(workspace, runner, steps)
}

fn without_composefs(workspace: &Workspace, runner: Runner, steps: &mut Steps) -> u64 {
    let version = Command::new("ostree").arg("--version").output();
    let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if text.is_ok_and(|text| has_feature(&text, "composefs")) {
        steps.note(
            "skipped, since libostree here is built with composefs: the tests of what it cannot do without",
        );
        return 0;
    }
    let mut command = runner.ignored_tests(workspace, WITHOUT_PACKAGE, WITHOUT);
    steps.tests("tests with a libostree without composefs", &mut command).ran()
}

/// Whether `ostree --version` lists a feature.
fn has_feature(version: &str, feature: &str) -> bool {
    version.lines().any(|line| line.trim().strip_prefix("- ") == Some(feature))
}

fn cfsctl_folder() -> PathBuf {
    host::target_dir().join(format!("cfsctl-{}", cfsctl::VERSION))
}

/// A command that builds what tests ask here, if they run and it is not there.
pub fn build(workspace: &Workspace) -> Option<Command> {
    host::is_root().then(|| cfsctl::command(workspace, &cfsctl_folder(), &SMALL)).flatten()
}

/// Returns how many tests ran.
fn ask_cfsctl(workspace: &Workspace, runner: Runner, steps: &mut Steps) -> u64 {
    println!("building cfsctl, unless it is there");
    let program = match cfsctl::build(workspace, &cfsctl_folder(), &SMALL) {
        Ok(program) => program,
        Err(error) => {
            // Somebody else's program: that it does not build here is no defect of ours.
            steps.note(format!("skipped: the tests that ask cfsctl, which could not be built: {error:#}"));
            return 0;
        }
    };
    let mut command = runner.ignored_tests(workspace, PACKAGE, TESTS);
    command.env("CFSCTL", program);
    steps.tests("tests with cfsctl", &mut command).ran()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_what_ostree_says_of_itself() {
        let text =
            "libostree:\n Version: '2025.2'\n Features:\n  - libcurl\n  - composefs\n  - ex-fsverity\n";
        assert!(has_feature(text, "composefs") && has_feature(text, "libcurl"));
        assert!(!has_feature(text, "fsverity") && !has_feature("", "composefs"));
    }
}
