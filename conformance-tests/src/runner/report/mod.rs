//! What came of a run, and how it is shown.

mod html;
mod junit;
mod table;

use serde::{Deserialize, Serialize};

use super::{Plan, Unit};
use crate::suite::{Case, Verdict};

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// Not tried: something is missing.
    Ignored,
}

/// One case on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Numbers in the specification.
    pub spec: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was seen instead, or what is missing.
    pub text: String,
}

/// All cases of one cell in one tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CellReport {
    /// Tier.
    pub tier: String,
    /// Storage backend.
    pub backend: String,
    /// Bootloader.
    pub bootloader: String,
    /// Kernel format.
    pub format: String,
    /// Firmware.
    pub firmware: String,
    /// In the order of the suite.
    pub cases: Vec<CaseReport>,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How long it took.
    pub seconds: f64,
    /// In the order of the plan.
    pub cells: Vec<CellReport>,
}

impl CaseReport {
    /// From a verdict.
    pub fn new(case: &Case, verdict: Verdict) -> Self {
        let (outcome, seconds, text) = match verdict {
            Verdict::Passed { took } => (Outcome::Passed, took.as_secs_f64(), String::new()),
            Verdict::Failed { took, why } => (Outcome::Failed, took.as_secs_f64(), why),
            Verdict::Ignored { missing } => (Outcome::Ignored, 0.0, format!("missing: {missing}")),
        };
        let spec = case.spec.iter().map(|&number| number.to_owned()).collect();
        Self { name: case.name.to_owned(), spec, outcome, seconds, text }
    }
}

impl CellReport {
    fn of(unit: &Unit) -> Self {
        Self {
            tier: unit.factory.tier().name().to_owned(),
            backend: unit.cell.backend.clone(),
            bootloader: unit.cell.bootloader.clone(),
            format: unit.cell.format.name().to_owned(),
            firmware: unit.cell.firmware.name().to_owned(),
            cases: Vec::new(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |cell: &Self| {
            [&cell.tier, &cell.backend, &cell.bootloader, &cell.format, &cell.firmware].map(Clone::clone)
        };
        key(self) == key(other)
    }

    /// Its name.
    pub fn title(&self) -> String {
        let firmware = if self.firmware == "uefi" { String::new() } else { format!(" ({})", self.firmware) };
        format!("{} + {} + {}{firmware}", self.backend, self.bootloader, self.format)
    }

    /// How many ended like this.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.cases.iter().filter(|case| case.outcome == outcome).count()
    }

    /// Time of all cases.
    pub fn seconds(&self) -> f64 {
        self.cases.iter().map(|case| case.seconds).sum()
    }
}

impl Report {
    /// Adds one result.
    pub(super) fn add(&mut self, unit: &Unit, case: CaseReport) {
        let cell = CellReport::of(unit);
        match self.cells.iter_mut().find(|known| known.is_same(&cell)) {
            Some(known) => known.cases.push(case),
            None => self.cells.push(CellReport { cases: vec![case], ..cell }),
        }
    }

    /// Into the order of the plan, whatever was ready first.
    pub(super) fn sort(&mut self, plan: &Plan) {
        let cells: Vec<_> = plan.units.iter().map(CellReport::of).collect();
        let place = |cell: &CellReport| cells.iter().position(|known| known.is_same(cell));
        self.cells.sort_by_key(place);
        let cases = crate::suite::all_cases();
        for cell in &mut self.cells {
            cell.cases.sort_by_key(|case| cases.iter().position(|known| known.name == case.name));
        }
    }

    /// How many ended like this.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.cells.iter().map(|cell| cell.count(outcome)).sum()
    }

    /// Whether something was tried and nothing failed.
    pub fn holds(&self) -> bool {
        self.count(Outcome::Failed) == 0 && self.count(Outcome::Passed) > 0
    }

    /// The last line: numbers, in the form that libtest prints and `cargo xtask test` counts.
    pub fn summary(&self) -> String {
        format!(
            "test result: {}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            if self.holds() { "ok" } else { "FAILED" },
            self.count(Outcome::Passed),
            self.count(Outcome::Failed),
            self.count(Outcome::Ignored),
            self.seconds,
        )
    }
}
