//! The developer's commands: `cargo xtask test`, `check`, `fuzz`, `demo`, `bench`.
//!
//! This program must build with nothing but a Rust toolchain, since it installs what everything else needs.

mod bench;
mod cfsctl;
mod check;
mod conformance;
mod count;
mod demo;
mod fuzz;
mod power_cuts;
mod steps;
mod suite;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Developer commands of Bootwright")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every check and test; the last line is the count
    Test {
        /// Leave out the tests that boot virtual machines
        #[arg(long)]
        fast: bool,
    },
    /// Runs the checks that need no test: formatting, lints, docs, licences, specification, features
    Check,
    /// Runs the conformance suite: every case on every combination of plugins
    Conformance(conformance::Arguments),
    /// Records what machines write, cuts the power at each moment of it, and checks and boots what is left
    PowerCuts(power_cuts::Arguments),
    /// Puts the reports of shards together: one table, one exit status
    MergeReports(conformance::merge::Arguments),
    /// Writes the matrix of the last run of the conformance suite into the README
    Matrix,
    /// Feeds every parser of outside bytes with inputs that reach new code, and fails on a crash
    Fuzz(fuzz::Arguments),
    /// Composes an operating system image, then installs, boots, upgrades and rolls it back in a virtual machine
    Demo(demo::Arguments),
    /// Measures imports beside another tool, and the time from power-on to multi-user
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Test { fast } => Ok(suite::test(&Workspace::find(), fast)),
        Command::Check => Ok(suite::check(&Workspace::find())),
        Command::Conformance(arguments) => conformance::run(&Workspace::find(), &arguments),
        Command::PowerCuts(arguments) => power_cuts::run(&arguments),
        Command::MergeReports(arguments) => conformance::merge::run(&arguments),
        Command::Matrix => conformance::matrix(&Workspace::find()).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(arguments) => fuzz::command(&arguments),
        Command::Demo(arguments) => demo::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
    }
}
