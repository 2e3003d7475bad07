//! Runs the suite: which case on which cell, in what order, and what came of it.
//!
//! A crate with plugins of its own runs the suite on them from a test or binary of its own; what it links is what is registered:
//!
//! ```no_run
//! // `use my_plugin as _;` makes the linker keep it.
//! fn main() -> std::process::ExitCode {
//!     bootwright_conformance::runner::main()
//! }
//! ```

mod execute;
mod matrix;
mod options;
mod plan;
mod report;
mod single;
mod workers;

pub use execute::execute;
pub use matrix::{Ci, KnownDefect, Matrix, MatrixCell};
pub use options::Options;
pub(crate) use options::format as kernel_format;
pub use plan::{LIVES, Plan, Unit, tried_for_each_change};
pub use report::{CaseReport, CellReport, Outcome, Report};
pub use single::{prepare, prepare_for, run_case};

use std::{path::Path, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    host,
    suite::{Tier, WorldFactory, fakes, loops, vm},
};

/// A tier with the cells that it is asked to run.
pub type Factories = Vec<Arc<dyn WorldFactory>>;

/// Fakes, loop-mounted disks and virtual machines.
pub fn built_in() -> Factories {
    vec![Arc::new(fakes::FakeFactory), Arc::new(loops::LoopFactory), Arc::new(vm::VmFactory::default())]
}

/// The program: runs what the command line asks for with [`built_in`] tiers, and reports.
pub fn main() -> ExitCode {
    main_with(&built_in(), None)
}

/// The same with these tiers, and with a matrix that pins the cells; without one, every registered pair is a cell.
pub fn main_with(factories: &Factories, matrix: Option<&Matrix>) -> ExitCode {
    main_as(&Options::from_command_line(), factories, matrix)
}

/// The same with the options of the command line, of which a program may have completed those that are not about which cases run: each process for
/// cases comes through here as well.
pub fn main_as(options: &Options, factories: &Factories, matrix: Option<&Matrix>) -> ExitCode {
    let held = if options.worker {
        enter_namespace(options)
            .and_then(|()| workers::serve(&Plan::make(options, factories, matrix)?))
            .map(|()| true)
    } else {
        run(options, factories, matrix).map(|report| report.holds())
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Before the first thread starts: whatever is mounted ends with this process, however it ends.
fn enter_namespace(options: &Options) -> Result<()> {
    if host::is_root() && options.tiers().contains(&Tier::Loop) {
        bootwright::machine::namespace::enter()?;
    }
    Ok(())
}

/// Plans, executes as [`execute()`] does, and writes `report.{json,html,xml}` below the target folder.
///
/// # Errors
/// When there is nothing to run, or a report cannot be written. Cases that fail are in the report.
pub fn run(options: &Options, factories: &Factories, matrix: Option<&Matrix>) -> Result<Report> {
    enter_namespace(options)?;
    let plan = Plan::make(options, factories, matrix)?;
    let start = Instant::now();
    let mut report = execute(&plan, options.jobs());
    report.seconds = start.elapsed().as_secs_f64();
    let folder = options.report.clone().unwrap_or_else(|| host::target_dir().join("conformance"));
    write(&report, &folder)?;
    print!("{}", report.table());
    println!("{}", report.summary());
    Ok(report)
}

/// Writes `report.{json,html,xml}`.
///
/// # Errors
/// When the folder cannot be made, or a file not be written.
pub fn write(report: &Report, folder: &Path) -> Result<()> {
    let what = || format!("write the report to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(what)?;
    std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(report)?).with_context(what)?;
    std::fs::write(folder.join("report.html"), report.html()).with_context(what)?;
    std::fs::write(folder.join("report.xml"), report.junit()?).with_context(what)
}
