//! Power cuts on the plugins of this project; `cargo xtask power-cuts` runs it.

use std::process::ExitCode;

use bootwright as _;
use bootwright_conformance::powercut::run;

fn main() -> ExitCode {
    run::main()
}
