//! The example of a distribution's own program: a workspace of its own, which must go on working with ours.

use std::process::Command;

use anyhow::Result;

use crate::{
    steps::{Started, Steps, run},
    workspace::Workspace,
};

const FOLDER: &str = "examples/custom-distro";
/// Its tests that only root can run do not say so one by one: without root, they are not run at all.
const PROGRAM: [&str; 6] = ["test", "--locked", "--package", "tidewaterctl", "--no-fail-fast", "--tests"];
const MACHINES: [&str; 10] =
    ["test", "--locked", "--package", "tidewaterctl", "--test", "conformance", "--", "--tier", "vm", "--ci"];
const ALL: [&str; 4] = ["test", "--locked", "--workspace", "--no-fail-fast"];

/// Formatting and lints.
pub fn checks(workspace: &Workspace, steps: &mut Steps) {
    steps.check("example: formatting", || run(&mut cargo(workspace, &["fmt", "--all", "--check"])));
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    steps.check("example: clippy", || run(&mut cargo(workspace, &clippy)));
    steps.check("example: the same versions of dependencies", || lock_in_step(workspace));
}

/// Starts its tests that boot nothing, the conformance suite on its plugins among them.
pub fn start_tests(workspace: &Workspace, is_root: bool) -> Started {
    let arguments = if is_root { &ALL[..] } else { &PROGRAM[..] };
    Steps::start_tests("example: tests", cargo(workspace, arguments))
}

/// Starts what its matrix pins for virtual machines: one machine, with an image of its own.
pub fn start_machine_tests(workspace: &Workspace) -> Started {
    Steps::start_tests("example: suite in a virtual machine", cargo(workspace, &MACHINES))
}

/// In its folder, so that its own settings of cargo count.
fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = workspace.cargo(arguments);
    command.current_dir(workspace.root().join(FOLDER));
    command
}

/// What it locks must be locked here as well: a version of its own would be built again, and could behave otherwise.
fn lock_in_step(workspace: &Workspace) -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(workspace.root().join(path));
    let other = strangers(&read("Cargo.lock")?, &read(&format!("{FOLDER}/Cargo.lock"))?);
    anyhow::ensure!(
        other.is_empty(),
        "{} in {FOLDER}/Cargo.lock and not in ours: copy Cargo.lock there, and run `cargo update --workspace` in {FOLDER}",
        other.join(", ")
    );
    Ok(())
}

/// Packages from a registry that only the second lock file has.
fn strangers(ours: &str, theirs: &str) -> Vec<String> {
    let ours = locked(ours);
    locked(theirs).into_iter().filter(|package| !ours.contains(package)).collect()
}

/// `name version` of each package that comes from somewhere else.
fn locked(text: &str) -> Vec<String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let blocks = text.split("[[package]]").skip(1).filter(|block| value(block, "source").is_some());
    blocks
        .filter_map(|block| Some(format!("{} {}", value(block, "name")?, value(block, "version")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_only_the_example_locks_is_found() {
        let package = |name: &str, version: &str, source: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}\n")
        };
        let ours = package("a", "1.0.0", "source = \"x\"") + &package("b", "1.0.0", "source = \"x\"");
        assert!(strangers(&ours, &package("a", "1.0.0", "source = \"x\"")).is_empty());
        let theirs = package("a", "1.0.1", "source = \"x\"") + &package("own", "1.0.0", "");
        assert_eq!(strangers(&ours, &theirs), ["a 1.0.1"]);
    }
}
