//! The command line of Bootwright, as a library: a distribution builds its own program from it, with its own plugins and defaults.
//!
//! ```no_run
//! use bootwright::{Settings, run};
//! // `use my_plugin as _;` for each plugin that the features of this crate do not bring.
//! let _exit = run(Settings { name: "our-os", ..Settings::default() });
//! ```
//!
//! Exit codes: 0 done, or nothing to do; 1 it went wrong, or a check found something wrong; 2 the command line was wrong.

pub mod args;
pub mod disk;
mod link;
pub mod machine;
mod plugins;
mod progress;
mod report;
mod settings;
mod status;
mod verbs;

pub use settings::Settings;

use std::process::ExitCode;

use bootwright_core::{Error, Result};
use tracing_subscriber::EnvFilter;

/// Runs the program with the arguments it was started with.
pub fn run(settings: Settings) -> ExitCode {
    run_with(settings, std::env::args_os())
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run_with(settings: Settings, args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    start_logging();
    let cli = match args::Cli::read(&settings, args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match verbs::run(cli, &settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", report::describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// Warnings go to standard error; `RUST_LOG` shows more.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    // A distribution's program may have set up its own already.
    let _ = subscriber.try_init();
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("the document cannot be written as JSON").with_source(error))
}
