//! Programs of other projects that read what Bootwright writes, and that no package brings: built here, and then asked.

use bootwright_conformance::host;

use super::Runner;
use crate::{cfsctl, steps::Steps, workspace::Workspace};

const PACKAGE: &str = "bootwright-backend-composefs";
/// Tests with this in their name find the program in the variable `CFSCTL`.
const TESTS: &str = "cfsctl";

/// What is asked is whether a repository is whole: nothing needs to be optimised for that, nor much of the program be there.
const SMALL: [&str; 6] =
    ["--debug", "--no-default-features", "--features", "pre-6.15,oci", "--config", "profile.dev.debug=false"];

/// Returns how many tests ran.
pub fn tests(workspace: &Workspace, runner: Runner, steps: &mut Steps) -> u64 {
    if !host::is_root() {
        steps.note("skipped, since they need root: the tests that ask cfsctl");
        return 0;
    }
    let folder = host::target_dir().join(format!("cfsctl-{}", cfsctl::VERSION));
    println!("building cfsctl, unless it is there");
    let program = match cfsctl::build(workspace, &folder, &SMALL) {
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
