//! The program that runs tests: cargo-nextest where it is installed, else `cargo test`.

use std::process::Command;

use super::text_of;
use crate::workspace::Workspace;

use super::features::FeatureSelection;

/// Test programs in which every test boots virtual machines; their tests are `#[ignore]`d.
const MACHINES: &str = "vm_";

/// Test programs in which every test needs root, and what for.
const NEED_ROOT: [(&str, &str); 2] =
    [("mount_namespace", "mount namespaces and loop devices"), ("to_disk", "loop devices and mounts")];

/// Which of the tests on this machine to run.
#[derive(Debug)]
pub struct Selection {
    left_out: &'static [(&'static str, &'static str)],
}

impl Selection {
    /// All that this user can run.
    pub fn for_user(root: bool) -> Self {
        Self { left_out: if root { &[] } else { &NEED_ROOT } }
    }

    /// Test programs that are not run, and why.
    pub fn left_out(&self) -> &'static [(&'static str, &'static str)] {
        self.left_out
    }
}

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

    /// Everything that boots nothing, except documentation tests.
    pub fn host_tests(self, workspace: &Workspace, selection: &Selection) -> Command {
        match self {
            Self::Nextest => {
                let mut command = nextest(workspace, &["--workspace"]);
                if let Some(filter) = nextest_filter(selection) {
                    command.args(["--filterset", &filter]);
                }
                command
            }
            Self::Libtest => {
                let mut command = workspace.cargo(&["test", "--workspace", "--no-fail-fast"]);
                command.args(libtest_targets(workspace, selection));
                command
            }
        }
    }

    /// How many tests `selection` leaves out that the runner does not report as skipped itself.
    pub fn tests_left_out(self, workspace: &Workspace, selection: &Selection) -> u64 {
        if self == Self::Nextest || selection.left_out.is_empty() {
            return 0;
        }
        let mut command = workspace.cargo(&["test", "--workspace"]);
        for (name, _) in selection.left_out {
            command.args(["--test", name]);
        }
        let listed = text_of(command.args(["--", "--list"])).unwrap_or_default();
        listed.lines().map(|line| u64::from(line.ends_with(": test"))).sum()
    }

    /// Everything that boots virtual machines.
    pub fn machine_tests(self, workspace: &Workspace) -> Command {
        match self {
            Self::Nextest => {
                let mut command = nextest(workspace, &["--workspace", "--run-ignored", "only"]);
                command.args(["--filterset", &format!("binary(/^{MACHINES}/)")]);
                command.args(["--success-output", "immediate"]);
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

    /// The tests that pin which plugins are in a binary with these features.
    pub fn feature_tests(self, workspace: &Workspace, selection: &FeatureSelection) -> Command {
        let mut command = match self {
            Self::Nextest => nextest(workspace, &[]),
            Self::Libtest => workspace.cargo(&["test", "--no-fail-fast"]),
        };
        command.args(selection.arguments()).args(["--test", super::features::TEST]);
        command
    }
}

fn nextest(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = workspace.cargo(&["nextest", "run", "--no-fail-fast"]);
    command.args(arguments);
    command
}

fn nextest_filter(selection: &Selection) -> Option<String> {
    let programs: Vec<_> = selection.left_out.iter().map(|(name, _)| format!("binary(={name})")).collect();
    (!programs.is_empty()).then(|| format!("not ({})", programs.join(" | ")))
}

/// `cargo test` cannot be told which target to leave out, so the others are named.
fn libtest_targets(workspace: &Workspace, selection: &Selection) -> Vec<String> {
    let mut arguments = vec!["--lib".to_owned(), "--bins".to_owned()];
    let packages = workspace.metadata().map(|metadata| metadata.packages).unwrap_or_default();
    let ours = packages.iter().filter(|package| package.source.is_none());
    let tests =
        ours.flat_map(|package| &package.targets).filter(|t| t.kind.iter().any(|kind| kind == "test"));
    let wanted = tests.filter(|target| selection.left_out.iter().all(|(name, _)| *name != target.name));
    arguments.extend(wanted.flat_map(|target| ["--test".to_owned(), target.name.clone()]));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_runs_everything() {
        assert_eq!(nextest_filter(&Selection::for_user(true)), None);
    }

    #[test]
    fn an_ordinary_user_runs_all_but_what_needs_root() {
        let filter = nextest_filter(&Selection::for_user(false)).unwrap();
        assert_eq!(filter, "not (binary(=mount_namespace) | binary(=to_disk))");
    }

    #[test]
    fn every_test_program_that_needs_root_exists() {
        let packages = Workspace::find().metadata().unwrap().packages;
        let targets: Vec<_> = packages.iter().flat_map(|p| &p.targets).map(|target| &target.name).collect();
        for (name, _) in NEED_ROOT {
            assert!(targets.iter().any(|target| *target == name), "{name}");
        }
    }
}
