//! For a terminal: one line for each cell, and what is missing.

use std::fmt::Write as _;

use super::{Outcome, Report};

impl Report {
    /// Cells with their numbers, then why cases were ignored, then what failed.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let titles: Vec<_> = self.cells.iter().map(super::CellReport::title).collect();
        let width = titles.iter().map(String::len).max().unwrap_or(0);
        for (cell, title) in self.cells.iter().zip(&titles) {
            let _ = writeln!(
                text,
                "{:<6} {title:<width$}  {:>3} passed  {:>3} failed  {:>3} ignored  {:>7.1} s",
                cell.tier,
                cell.count(Outcome::Passed),
                cell.count(Outcome::Failed),
                cell.count(Outcome::Ignored),
                cell.seconds(),
            );
        }
        self.ignored(&mut text);
        self.failed(&mut text);
        text
    }

    fn ignored(&self, text: &mut String) {
        for (reason, times) in self.reasons() {
            let _ = writeln!(text, "ignored {times} times, {reason}");
        }
    }

    fn failed(&self, text: &mut String) {
        for cell in &self.cells {
            for case in cell.cases.iter().filter(|case| case.outcome == Outcome::Failed) {
                let _ =
                    writeln!(text, "\nFAILED {} {}: {}\n{}", cell.tier, cell.title(), case.name, case.text);
            }
        }
    }
}
