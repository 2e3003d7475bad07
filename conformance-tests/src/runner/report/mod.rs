//! What came of a run, and how it is shown.

mod html;
mod junit;
mod table;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Plan, Unit, plan::LEFT_OUT};
use crate::suite::{Case, Missing, Tier, Verdict};

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

impl CaseReport {
    /// Of a case that this run leaves out.
    fn left_out(case: &Case) -> Self {
        let ignored = Verdict::Ignored { missing: Missing(String::new()) };
        Self { text: LEFT_OUT.to_owned(), ..Self::new(case, ignored) }
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

    /// Adds what nobody ran, as ignored.
    pub(super) fn leave_out(&mut self, plan: &Plan) {
        for unit in &plan.left_out {
            unit.cases.iter().for_each(|case| self.add(unit, CaseReport::left_out(case)));
        }
    }

    /// Why cases were ignored, and how often.
    fn reasons(&self) -> BTreeMap<&str, usize> {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for case in self.cells.iter().flat_map(|cell| &cell.cases) {
            if case.outcome == Outcome::Ignored {
                *reasons.entry(&case.text).or_default() += 1;
            }
        }
        reasons
    }

    /// Into the order of the plan, whatever was ready first.
    pub(super) fn sort(&mut self, plan: &Plan) {
        let cells: Vec<_> = plan.units.iter().chain(&plan.left_out).map(CellReport::of).collect();
        let place = |cell: &CellReport| cells.iter().position(|known| known.is_same(cell));
        self.cells.sort_by_key(place);
        self.sort_cases();
    }

    /// Into the order of the suite.
    fn sort_cases(&mut self) {
        let cases = crate::suite::all_cases();
        for cell in &mut self.cells {
            cell.cases.sort_by_key(|case| cases.iter().position(|known| known.name == case.name));
        }
    }

    /// Parts of a run as one report: shards, or tiers. It took as long as the longest, as if they had run at the same time.
    ///
    /// # Errors
    /// If two of them have a case on the same cell: then they are not parts of one run.
    pub fn merged(parts: Vec<Self>) -> Result<Self> {
        let mut whole = Self::default();
        for part in parts {
            whole.seconds = whole.seconds.max(part.seconds);
            for cell in part.cells {
                whole.take(cell)?;
            }
        }
        let tier = |cell: &CellReport| Tier::ALL.iter().position(|tier| tier.name() == cell.tier);
        whole.cells.sort_by_key(|cell| (tier(cell), cell.title()));
        whole.sort_cases();
        Ok(whole)
    }

    fn take(&mut self, cell: CellReport) -> Result<()> {
        let Some(known) = self.cells.iter_mut().find(|known| known.is_same(&cell)) else {
            self.cells.push(cell);
            return Ok(());
        };
        let twice = cell.cases.iter().find(|case| known.cases.iter().any(|old| old.name == case.name));
        if let Some(case) = twice {
            bail!(
                "two of the reports have {} on {} {}: they are no parts of one run",
                case.name,
                cell.tier,
                cell.title()
            );
        }
        known.cases.extend(cell.cases);
        Ok(())
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::runner::{Matrix, Options, built_in};

    fn shard(tier: &str, cases: &[(&str, Outcome)], seconds: f64) -> Report {
        let case = |&(name, outcome): &(&str, Outcome)| CaseReport {
            name: name.to_owned(),
            spec: Vec::new(),
            outcome,
            seconds: 1.0,
            text: String::new(),
        };
        let [backend, bootloader, format, firmware] = ["b", "l", "split", "uefi"].map(str::to_owned);
        let (tier, cases) = (tier.to_owned(), cases.iter().map(case).collect());
        Report { seconds, cells: vec![CellReport { tier, backend, bootloader, format, firmware, cases }] }
    }

    #[test]
    fn shards_that_ran_apart_are_one_report_in_which_a_failure_stays_one() {
        let (life, upgrade) =
            ("life::from_the_install_to_the_last_upgrade", "upgrade::is_staged_and_boots_after_the_shutdown");
        let parts = vec![
            shard("vm", &[(life, Outcome::Ignored)], 9.0),
            shard("loop", &[(upgrade, Outcome::Failed)], 3.0),
            shard("loop", &[(life, Outcome::Passed)], 2.0),
        ];
        let whole = Report::merged(parts).unwrap();
        assert!(!whole.holds() && (whole.seconds - 9.0).abs() < 0.01);
        let cells: Vec<_> = whole.cells.iter().map(|cell| (cell.tier.as_str(), cell.cases.len())).collect();
        assert_eq!(cells, [("loop", 2), ("vm", 1)]);
        assert_eq!(whole.cells[0].cases[0].name, life, "the suite's order");
    }

    #[test]
    fn reports_of_the_same_shard_are_not_merged() {
        let part = || shard("loop", &[("a::b", Outcome::Passed)], 1.0);
        assert!(Report::merged(vec![part(), part()]).unwrap_err().to_string().contains("a::b"));
    }

    #[test]
    fn what_was_left_out_is_in_every_form_of_the_report_and_once_in_the_table() {
        let arguments = ["suite", "--tier", "vm", "--ci", "--backend", "composefs", "--boot", "uki"];
        let options = Options::try_parse_from(arguments).unwrap();
        let matrix = Matrix::of_this_project().unwrap();
        let plan = Plan::make(&options, &built_in(), Some(&matrix)).unwrap();
        let mut report = Report::default();
        report.leave_out(&plan);
        let (cases, name) =
            (crate::suite::all_cases().len() - 1, "kernel::a_new_one_alone_is_a_new_deployment");
        assert!(
            report.cells.len() > 1 && report.cells.iter().all(|cell| cell.count(Outcome::Ignored) == cases)
        );
        let table = report.table();
        assert!(table.contains(&format!("{cases} ignored")) && !table.contains(name), "{table}");
        assert_eq!(table.matches("left out by --ci").count(), 1, "{table}");
        let json = serde_json::to_string(&report).unwrap();
        for form in [report.html(), report.junit().unwrap(), json] {
            assert!(form.contains(name) && form.contains("without --ci"), "{form}");
        }
        assert!(
            !report.holds() && report.summary().contains(" 0 passed; 0 failed; "),
            "{}",
            report.summary()
        );
    }
}
