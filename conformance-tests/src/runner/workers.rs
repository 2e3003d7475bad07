//! Where units run: in other processes of the same program, which get the same command line.
//!
//! A process of its own for each job keeps cases out of each other's way. libostree forks when it publishes, and the standard library when
//! it starts a program: in one process, each such child holds what the cases of all other threads have open, and the memory of
//! all of them is copied. A case that kills its process is a failure of that case, and no more.
//!
//! ```text
//! runner  -- place of a unit in the plan, one a line -->  worker
//! runner  <-- a CaseReport as JSON, one a line         --  worker
//! ```

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::{CaseReport, Plan, Unit, execute::run_unit};
use crate::{
    host,
    suite::{Tier, Verdict},
};

/// Runs one unit after the other, in a process that it starts when there is something to run, and again after that one died.
#[derive(Default)]
pub(super) struct Worker(Option<Process>);

impl Worker {
    /// Runs a unit, which has this place in the plan. Every case is reported, whatever happens.
    pub(super) fn run(&mut self, place: usize, unit: &Unit, done: &mut dyn FnMut(CaseReport)) {
        let mut reported = 0;
        let mut count = |case| {
            reported += 1;
            done(case);
        };
        if let Err(error) = self.try_run(place, unit, &mut count) {
            let why = format!("{error:#}");
            for case in unit.cases.iter().skip(reported) {
                done(CaseReport::new(case, Verdict::Failed { took: Duration::ZERO, why: why.clone() }));
            }
        }
    }

    fn try_run(&mut self, place: usize, unit: &Unit, done: &mut dyn FnMut(CaseReport)) -> Result<()> {
        let mut running = self.0.take().map_or_else(|| Process::start(this_program(unit)?), Ok)?;
        running.run(place, unit.cases.len(), done)?;
        self.0 = Some(running);
        Ok(())
    }
}

/// What plugins write for a moment goes to memory, as the disks of these tiers do: a file system remembers what was removed, and gets slow.
fn this_program(unit: &Unit) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.args(std::env::args_os().skip(1)).arg("--worker");
    if unit.factory.tier() != Tier::Vm {
        command.env("TMPDIR", host::scratch());
    }
    Ok(command)
}

/// A worker, as the runner sees it. It ends when it is dropped.
struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start a process for cases")?;
        let orders = child.stdin.take();
        let reports = child.stdout.take().context("a process without output")?;
        Ok(Self { child, orders, reports: BufReader::new(reports).lines() })
    }

    fn run(&mut self, place: usize, cases: usize, done: &mut dyn FnMut(CaseReport)) -> Result<()> {
        if let Some(orders) = &mut self.orders {
            // If it is gone, its output ends as well, which tells why.
            let _ = writeln!(orders, "{place}");
        }
        for _ in 0..cases {
            done(self.next()?);
        }
        Ok(())
    }

    /// What else a plugin's library prints is passed on.
    fn next(&mut self) -> Result<CaseReport> {
        while let Some(Ok(line)) = self.reports.next() {
            match serde_json::from_str(&line) {
                Ok(report) => return Ok(report),
                Err(_) => eprintln!("{line}"),
            }
        }
        let status = self.child.wait().context("wait for a process that runs cases")?;
        anyhow::bail!("the process that ran it ended early: {status}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It reads to the end of its orders, and then goes.
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// The worker itself: runs what it is told to, until nobody tells it anything more, or its runner is gone.
///
/// # Errors
/// If it is told nonsense, or cannot start a thread.
pub(super) fn serve(plan: &Plan) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("end with the runner")?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().context("start a thread for cases")?;
    for order in std::io::stdin().lines() {
        let place: usize = order?.parse().context("not the place of a unit")?;
        let unit = plan.units.get(place).context("the plan has no such unit")?;
        runtime.block_on(run_unit(unit, |case| match serde_json::to_string(&case) {
            Ok(report) => println!("{report}"),
            Err(error) => eprintln!("{}: {error}", case.name),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        runner::{Options, Outcome, built_in},
        suite::all_cases,
    };
    use clap::Parser as _;

    /// A worker that a shell plays.
    fn played(script: &str) -> Process {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        Process::start(shell).unwrap()
    }

    fn unit_of(cases: usize) -> Unit {
        let options = Options::try_parse_from(["suite", "--tier", "fakes"]).unwrap();
        let unit = Plan::make(&options, &built_in(), None).unwrap().units.swap_remove(0);
        Unit { cases: all_cases().into_iter().take(cases).collect(), ..unit }
    }

    fn report_of(unit: &Unit) -> String {
        let passed = Verdict::Passed { took: Duration::from_secs(1) };
        serde_json::to_string(&CaseReport::new(unit.cases.first().unwrap(), passed)).unwrap()
    }

    #[test]
    fn a_case_that_kills_its_process_fails_and_those_after_it_too() {
        let unit = unit_of(3);
        let script = format!("read place; echo '{}'; kill -KILL $$", report_of(&unit));
        let mut worker = Worker(Some(played(&script)));
        let mut seen = Vec::new();
        worker.run(0, &unit, &mut |case| seen.push(case));
        let outcomes: Vec<_> = seen.iter().map(|case| case.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed, Outcome::Failed]);
        assert!(seen.last().unwrap().text.contains("signal: 9"), "{seen:?}");
        assert!(worker.0.is_none(), "the next unit has another process");
    }

    #[test]
    fn a_worker_is_told_the_place_of_the_unit_and_may_print_other_things() {
        let unit = unit_of(1);
        let script = format!("read place; [ $place = 7 ] || exit 1; echo noise; echo '{}'", report_of(&unit));
        let mut seen = Vec::new();
        played(&script).run(7, 1, &mut |case| seen.push(case)).unwrap();
        assert_eq!(seen.first().map(|case| case.outcome), Some(Outcome::Passed));
    }
}
