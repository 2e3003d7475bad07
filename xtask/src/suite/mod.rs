//! What `cargo xtask test` and `cargo xtask check` run, in which order, with which test runner.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use bootwright_conformance::{host, packages};

use crate::{
    check, conformance, fuzz,
    steps::{Steps, run},
    workspace::Workspace,
};

mod ahead;
mod example;
mod features;
mod images;
mod programs;
mod root_only;
mod runner;

use ahead::Ahead;
use features::FeatureSelection;
use runner::Runner;

/// How long each fuzz target runs in the suite; `cargo xtask fuzz` runs them for longer.
const FUZZ_SECONDS: u64 = 3;

/// Everything, or everything but virtual machines.
pub fn test(workspace: &Workspace, fast: bool) -> ExitCode {
    let mut steps = Steps::start();
    if !steps.check("system packages", install_packages) {
        return steps.finish_tests();
    }
    let ahead = Ahead::start(workspace, !fast);
    let tested = features::with_tests(workspace);
    checks(workspace, &mut steps, &tested);
    let runner = Runner::find(workspace);
    if runner == Runner::Libtest {
        steps.note("cargo-nextest is not installed: `cargo test` ran the tests, which takes longer");
    }
    let skipped = host_tests(workspace, runner, &mut steps);
    let count = steps.tests("documentation tests", &mut workspace.cargo(&["test", "--workspace", "--doc"]));
    steps.skipped(count.skipped);
    for selection in &tested {
        let count = steps.tests(&selection.name(), &mut runner.feature_tests(workspace, selection));
        steps.skipped(count.skipped);
    }
    ahead.join();
    conformance(workspace, &mut steps);
    let example = example::start_tests(workspace, host::is_root());
    let asked = programs::tests(workspace, runner, &mut steps);
    steps.counted_tests("fuzz targets, each for a few seconds", || fuzz::bounded(workspace, FUZZ_SECONDS));
    // Its longest part keeps one processor busy: machines may have the other one meanwhile.
    let ran = machine_tests(workspace, runner, fast, &mut steps);
    let skipped = skipped + steps.join(example).skipped;
    steps.skipped(skipped.saturating_sub(ran + asked));
    steps.finish_tests()
}

/// Everything that is not a test.
pub fn check(workspace: &Workspace) -> ExitCode {
    let mut steps = Steps::start();
    if steps.check("system packages", install_packages) {
        checks(workspace, &mut steps, &[]);
    }
    steps.finish_checks()
}

fn install_packages() -> Result<()> {
    let installed = packages::ensure_installed(&|line| println!("{line}"))?;
    println!(
        "{} had to be installed",
        if installed.is_empty() { "none".into() } else { installed.join(" ") }
    );
    Ok(())
}

/// The quick ones first. Feature selections that are `tested` are built for that, and so need no check.
fn checks(workspace: &Workspace, steps: &mut Steps, tested: &[FeatureSelection]) {
    steps.check("formatting", || {
        run(&mut workspace.cargo(&["fmt", "--all", "--check"]))?;
        run(&mut workspace.cargo(&["fmt", "--manifest-path", fuzz::MANIFEST, "--check"]))
    });
    let mut input = None;
    steps.check("reading the source tree", || {
        input = Some(check::Input::read(workspace)?);
        Ok(())
    });
    if let Some(input) = input {
        check::all(&input, steps);
    }
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    steps.check("clippy", || run(&mut workspace.cargo(&clippy)));
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    steps.check("rustdoc", || run(workspace.cargo(&doc).env("RUSTDOCFLAGS", "--deny warnings")));
    for selection in features::all(workspace).into_iter().filter(|selection| !tested.contains(selection)) {
        let mut arguments = vec!["check", "--quiet"];
        let wanted = selection.arguments();
        arguments.extend(wanted.iter().map(String::as_str));
        steps.check(&selection.name(), || run(&mut workspace.cargo(&arguments)));
    }
    example::checks(workspace, steps);
}

/// Unit, property and loop-disk tests. Returns how many were skipped, those of virtual machines among them.
fn host_tests(workspace: &Workspace, runner: Runner, steps: &mut Steps) -> u64 {
    let left_out = if host::is_root() { Vec::new() } else { need_root(workspace) };
    if !left_out.is_empty() {
        steps.note(format!("skipped, since they need root: {}", left_out.join(" ")));
    }
    steps.tests("tests on this machine", &mut runner.host_tests(workspace, &left_out)).skipped
}

fn need_root(workspace: &Workspace) -> Vec<String> {
    workspace.sources().map(|files| root_only::tests(&files)).unwrap_or_default()
}

/// The conformance suite without virtual machines. A case that something is missing for counts as skipped.
fn conformance(workspace: &Workspace, steps: &mut Steps) {
    let mut command = conformance::command(workspace, &["--tier", "fakes", "--tier", "loop", "--ci"]);
    let count = steps.tests("conformance suite", &mut command);
    steps.skipped(count.skipped);
}

/// Tests that boot virtual machines. Returns how many ran of those that other steps have skipped; cases of the suite that nobody pins for each
/// change are skipped here.
fn machine_tests(workspace: &Workspace, runner: Runner, fast: bool, steps: &mut Steps) -> u64 {
    if fast {
        steps.note("skipped, as --fast asks: the tests that boot virtual machines");
        return 0;
    }
    if !host::is_root() {
        steps.note("skipped, since they need root to make disks: the tests that boot virtual machines");
        return 0;
    }
    let example = example::start_machine_tests(workspace);
    let prepared = steps.check("images for virtual machines", images::prepare);
    let tests =
        prepared.then(|| steps.tests("tests in virtual machines", &mut runner.machine_tests(workspace)));
    let example = steps.join(example);
    steps.skipped(example.skipped);
    let Some(tests) = tests else { return 0 };
    let mut suite =
        conformance::command(workspace, &["--tier", "vm", "--ci", "--report", conformance::VM_REPORT]);
    let count = steps.tests("conformance suite in virtual machines", &mut suite);
    steps.skipped(count.skipped);
    let (skipped, report) = (count.skipped, conformance::VM_REPORT);
    steps.note(format!("skipped, since the matrix does not pin them for each change: {skipped} cases in virtual machines ({report}/report.html)"));
    tests.ran()
}

/// Whether the workspace has this file.
fn has(workspace: &Workspace, path: impl AsRef<Path>) -> bool {
    workspace.root().join(path).exists()
}
