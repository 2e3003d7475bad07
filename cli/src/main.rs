//! The `bootwright` program: the library with its own name and the plugins of its cargo features.

use std::process::ExitCode;

fn main() -> ExitCode {
    bootwright::run(bootwright::Settings::default())
}
