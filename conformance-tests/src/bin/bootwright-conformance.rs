//! The conformance suite on the plugins of this project's cargo features.

use std::process::ExitCode;

use bootwright as _;
use bootwright_conformance::runner;

fn main() -> ExitCode {
    match runner::Matrix::of_this_project() {
        Ok(matrix) => runner::main_with(runner::built_in(), Some(matrix)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
