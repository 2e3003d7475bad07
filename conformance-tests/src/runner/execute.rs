//! Runs units, several at once.

use std::{
    any::Any,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use super::{
    CaseReport, Outcome, Plan, Report, Unit, plan::takes_turns, prepare_for, run_case, workers::Worker,
};
use crate::suite::{Case, Missing, Result, Reuse, Setting, Verdict, World};

/// Seconds after which somebody who watches wants to know that something goes on.
const LONG: f64 = 10.0;

/// What fails is told at once; what took long, as in virtual machines or at each point of a verb, also if it passes.
fn tell(unit: &Unit, case: &CaseReport) {
    match case.outcome {
        Outcome::Failed => eprintln!("FAILED {unit} {}: {}", case.name, case.text),
        Outcome::Passed if case.seconds >= LONG => {
            eprintln!("passed {unit} {} in {:.0} s", case.name, case.seconds);
        }
        _ => {}
    }
}

/// Runs everything, `jobs` units at once, in processes of this program: its `main` has to be the runner's, and this plan what its command
/// line asks for. Progress goes to standard error.
pub fn execute(plan: &Plan, jobs: usize) -> Report {
    let queue = Mutex::new(plan.units.iter().enumerate());
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.min(plan.units.len()) {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || take_from(queue, &sender));
        }
        drop(sender);
        let mut report = Report::default();
        for (unit, case) in results {
            tell(unit, &case);
            report.add(unit, case);
        }
        report.leave_out(plan);
        report.sort(plan);
        report
    })
}

type Queue<'a> = Mutex<std::iter::Enumerate<std::slice::Iter<'a, Unit>>>;

fn take_from<'a>(queue: &Queue<'a>, results: &mpsc::Sender<(&'a Unit, CaseReport)>) {
    let mut worker = Worker::default();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((place, unit)) = next else { return };
        worker.run(place, unit, &mut |case| {
            let _ = results.send((unit, case));
        });
    }
}

/// Runs the cases of a unit in this process.
pub(super) async fn run_unit(unit: &Unit, mut done: impl FnMut(CaseReport)) {
    if let Err(missing) = unit.factory.can_run(&unit.cell) {
        unit.cases.iter().for_each(|case| done(ignored(case, &missing)));
        return;
    }
    let mut machine: Option<Machine> = None;
    for case in &unit.cases {
        let start = Instant::now();
        let ready = match machine.take() {
            Some(machine) => machine.back().await,
            None => Machine::prepare(unit, case.setting).await,
        };
        let mut ready = match ready {
            Ok(ready) => ready,
            Err(error) => {
                let why = format!("no machine to start from: {error}");
                done(CaseReport::new(case, Verdict::Failed { took: start.elapsed(), why }));
                continue;
            }
        };
        let verdict = run_case(&mut *ready.world, case).await;
        if takes_turns(unit.factory.reuse(), case) && !matches!(verdict, Verdict::Failed { .. }) {
            machine = Some(ready);
        }
        done(CaseReport::new(case, as_known(unit, case, verdict)));
    }
}

/// What cases take turns on.
struct Machine {
    world: Box<dyn World>,
    /// Where each of them starts, if it is put back there.
    start: Option<Box<dyn Any + Send + Sync>>,
}

impl Machine {
    async fn prepare(unit: &Unit, setting: Setting) -> Result<Self> {
        let mut world = prepare_for(&*unit.factory, &unit.cell, setting, unit.points).await?;
        let restored = unit.factory.reuse() == Reuse::Restored && unit.cases.len() > 1;
        let start = if restored { Some(world.checkpoint().await?) } else { None };
        Ok(Self { world, start })
    }

    async fn back(mut self) -> Result<Self> {
        if let Some(start) = &self.start {
            self.world.restore(&**start).await?;
        }
        Ok(self)
    }
}

/// A defect that is known is shown, and is no failure; one that is listed and mended is, so that the list stays true.
fn as_known(unit: &Unit, case: &Case, verdict: Verdict) -> Verdict {
    let Some(known) = unit.known.iter().find(|known| known.case == case.name) else { return verdict };
    match verdict {
        Verdict::Failed { .. } => {
            Verdict::Ignored { missing: Missing(format!("this does not hold yet: {}", known.reason)) }
        }
        Verdict::Passed { took } => {
            let why = "it holds, but the matrix lists it as a known defect: take it out".to_owned();
            Verdict::Failed { took, why }
        }
        ignored @ Verdict::Ignored { .. } => ignored,
    }
}

fn ignored(case: &Case, missing: &Missing) -> CaseReport {
    CaseReport::new(case, Verdict::Ignored { missing: missing.clone() })
}
