//! The README's matrix, between two marks.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result};
use bootwright_conformance::runner::{CellReport, LIVES, Outcome, Report};

const BEGIN: &str =
    "<!-- matrix: written by `cargo xtask matrix` from the last run of the conformance suite -->";
const END: &str = "<!-- end of matrix -->";

/// The text with a new matrix.
///
/// # Errors
/// If the marks are missing.
pub fn with_matrix(text: &str, report: &Report) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("README.md has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("README.md has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", table(report)))
}

/// One row for each pair of plugins, one column for each kernel format and firmware.
fn table(report: &Report) -> String {
    let mut rows: BTreeMap<(&str, &str), BTreeMap<String, Vec<&CellReport>>> = BTreeMap::new();
    let mut columns = Vec::new();
    for cell in report.cells.iter().filter(|cell| cell.tier != "fakes") {
        let column = format!("{}, {}", cell.format, cell.firmware);
        if !columns.contains(&column) {
            columns.push(column.clone());
        }
        let row = rows.entry((&cell.backend, &cell.bootloader)).or_default();
        row.entry(column).or_default().push(cell);
    }
    let mut text = format!("| backend + bootloader | {} |\n|---|", columns.join(" | "));
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    for ((backend, bootloader), cells) in rows {
        let _ = write!(text, "| {backend} + {bootloader} |");
        for column in &columns {
            let shown = cells.get(column).map(|cells| summary(cells)).unwrap_or_default();
            let _ = write!(text, " {shown} |");
        }
        text.push('\n');
    }
    text
}

/// Each tier with what holds there.
fn summary(cells: &[&CellReport]) -> String {
    cells.iter().map(|cell| in_tier(cell)).collect::<Vec<_>>().join("; ")
}

/// Cases that hold, of those that were tried, or which life that was; then what was ignored.
fn in_tier(cell: &CellReport) -> String {
    let (passed, failed) = (cell.count(Outcome::Passed), cell.count(Outcome::Failed));
    let ignored = cell.count(Outcome::Ignored);
    let tried = match (life(cell), passed + failed) {
        (Some(life), _) if failed == 0 => Some(life.to_owned()),
        (Some(life), _) => Some(format!("{life} failed")),
        (None, 0) => None,
        (None, all) => Some(format!("{passed}/{all}")),
    };
    let ignored = (ignored > 0).then(|| format!("{ignored} ignored"));
    let shown: Vec<_> = tried.into_iter().chain(ignored).collect();
    format!("{} ({})", shown.join(", "), cell.tier)
}

/// What a run for each change boots, if that is all that was tried here.
fn life(cell: &CellReport) -> Option<&'static str> {
    let mut tried = cell.cases.iter().filter(|case| case.outcome != Outcome::Ignored);
    let (only, more) = (tried.next()?, tried.next());
    LIVES.iter().find(|(name, _)| *name == only.name && more.is_none()).map(|(_, shown)| *shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        serde_json::from_str(
            r#"{"seconds":1,"cells":[{"tier":"loop","backend":"a","bootloader":"b","format":"split","firmware":"uefi","cases":[
            {"name":"x::y","spec":[],"outcome":"passed","seconds":1,"text":""},
            {"name":"x::z","spec":[],"outcome":"failed","seconds":1,"text":"no"},
            {"name":"x::a","spec":[],"outcome":"ignored","seconds":0,"text":"missing: y"}]}]}"#,
        )
        .unwrap()
    }

    /// In a virtual machine, with one case that ran beside the ignored one.
    fn machine(name: &str, outcome: Outcome) -> CellReport {
        let mut cell = report().cells.swap_remove(0);
        cell.tier = "vm".to_owned();
        cell.cases.remove(1);
        cell.cases[0].name = name.to_owned();
        cell.cases[0].outcome = outcome;
        cell
    }

    #[test]
    fn a_life_in_a_virtual_machine_is_called_by_its_name() {
        let [(whole, _), (short, _), ..] = LIVES;
        assert_eq!(in_tier(&machine(whole, Outcome::Passed)), "whole life, 1 ignored (vm)");
        assert_eq!(in_tier(&machine(short, Outcome::Passed)), "upgrade and rollback, 1 ignored (vm)");
        assert_eq!(in_tier(&machine(whole, Outcome::Failed)), "whole life failed, 1 ignored (vm)");
        assert_eq!(in_tier(&machine("x::y", Outcome::Passed)), "1/1, 1 ignored (vm)");
        assert_eq!(in_tier(&machine("x::y", Outcome::Ignored)), "2 ignored (vm)");
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("# Top\n{BEGIN}\nold\n{END}\nbottom\n");
        let new = with_matrix(&text, &report()).unwrap();
        assert!(new.starts_with("# Top\n") && new.ends_with("\nbottom\n") && !new.contains("old"));
        assert!(new.contains("| a + b | 1/2, 1 ignored (loop) |"), "{new}");
        assert_eq!(with_matrix(&new, &report()).unwrap(), new);
        assert!(with_matrix("no marks", &report()).is_err());
    }
}
