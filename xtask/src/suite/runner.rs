//! The program that runs tests: cargo-nextest where it is installed, else `cargo test`.

use std::process::Command;

use super::features::{self, FeatureSelection};
use crate::workspace::Workspace;

/// Test programs in which every test boots virtual machines; their tests are `#[ignore]`d.
const MACHINES: &str = "vm_";

/// A program that runs tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// cargo-nextest: each test in a process of its own, as many at once as there are processors.
    Nextest,
    /// What comes with cargo.
    Libtest,
}

impl Runner {
    /// The better one of those that are installed.
    pub fn find(workspace: &Workspace) -> Self {
        let output = workspace.cargo(&["nextest", "--version"]).output();
        if output.is_ok_and(|output| output.status.success()) { Self::Nextest } else { Self::Libtest }
    }

    /// Everything that boots nothing, except documentation tests, and except the tests with these names.
    pub fn host_tests(self, workspace: &Workspace, left_out: &[String]) -> Command {
        match self {
            Self::Nextest => {
                let mut command = nextest(workspace, &["--workspace"]);
                if !left_out.is_empty() {
                    command.args(["--filterset", &nextest_filter(left_out)]);
                }
                command
            }
            Self::Libtest => {
                let mut command = workspace.cargo(&["test", "--workspace", "--no-fail-fast"]);
                command.args(["--lib", "--bins", "--tests", "--"]);
                command.args(left_out.iter().flat_map(|name| ["--skip", name]));
                command
            }
        }
    }

    /// Everything that boots virtual machines.
    pub fn machine_tests(self, workspace: &Workspace) -> Command {
        match self {
            Self::Nextest => {
                let mut command = nextest(workspace, &["--workspace", "--run-ignored", "only"]);
                command.args(["--filterset", &format!("binary(/^{MACHINES}/)")]);
                command.args(["--status-level", "pass", "--success-output", "immediate"]);
                command
            }
            Self::Libtest => {
                let mut command = workspace.cargo(&["test", "--workspace", "--no-fail-fast"]);
                command.args(["--test", &format!("{MACHINES}*"), "--", "--ignored", "--nocapture"]);
                command.args(["--test-threads", "1"]);
                command
            }
        }
    }

    /// Tests of a package that are ignored, with this in their name. The whole workspace is named: for a package alone, cargo would build what it
    /// needs once more, with fewer features.
    pub fn ignored_tests(self, workspace: &Workspace, package: &str, name: &str) -> Command {
        match self {
            Self::Nextest => {
                let mut command = nextest(workspace, &["--workspace", "--run-ignored", "only"]);
                command.args(["--filterset", &format!("package({package}) and test({name})")]);
                command
            }
            Self::Libtest => {
                let mut command = workspace.cargo(&["test", "--package", package, "--lib", name]);
                command.args(["--", "--ignored"]);
                command
            }
        }
    }

    /// The tests that pin which plugins are in a binary with these features.
    pub fn feature_tests(self, workspace: &Workspace, selection: &FeatureSelection) -> Command {
        let mut command = match self {
            Self::Nextest => nextest(workspace, &[]),
            Self::Libtest => workspace.cargo(&["test", "--no-fail-fast"]),
        };
        command.args(selection.arguments()).args(["--test", features::TEST]);
        command
    }
}

fn nextest(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = workspace.cargo(&["nextest", "run", "--no-fail-fast"]);
    command.args(arguments);
    command
}

/// A test's name comes after the modules that it is in.
fn nextest_filter(left_out: &[String]) -> String {
    format!("not test(/(^|::)({})$/)", left_out.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_left_out_by_their_whole_name() {
        let names = ["a_b", "c"].map(str::to_owned);
        assert_eq!(nextest_filter(&names), "not test(/(^|::)(a_b|c)$/)");
    }
}
