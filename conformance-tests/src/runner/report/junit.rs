//! For other tools: `JUnit` XML.

use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{CaseReport, Outcome, Report};

fn status(case: &CaseReport) -> TestCaseStatus {
    match case.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(case.text.lines().next().unwrap_or_default()).set_description(&case.text);
            status
        }
        Outcome::Ignored => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(&case.text);
            status
        }
    }
}

impl Report {
    /// One suite for each cell.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn junit(&self) -> Result<String> {
        let mut all = quick_junit::Report::new("bootwright-conformance");
        all.set_time(Duration::from_secs_f64(self.seconds));
        for cell in &self.cells {
            let mut suite = TestSuite::new(format!("{} {}", cell.tier, cell.title()));
            for case in &cell.cases {
                let mut test = TestCase::new(case.name.clone(), status(case));
                test.set_time(Duration::from_secs_f64(case.seconds));
                suite.add_test_case(test);
            }
            all.add_test_suite(suite);
        }
        Ok(all.to_string()?)
    }
}
