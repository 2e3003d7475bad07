//! The README's matrix, between two marks.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result};
use bootwright_conformance::runner::{CellReport, Outcome, Report};

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

/// Each tier with its numbers: cases that hold, of those that were tried.
fn summary(cells: &[&CellReport]) -> String {
    let one = |cell: &&CellReport| {
        let (passed, failed) = (cell.count(Outcome::Passed), cell.count(Outcome::Failed));
        (passed + failed > 0).then(|| format!("{passed}/{} ({})", passed + failed, cell.tier))
    };
    let shown: Vec<_> = cells.iter().filter_map(one).collect();
    if shown.is_empty() { "–".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        serde_json::from_str(
            r#"{"seconds":1,"cells":[{"tier":"loop","backend":"a","bootloader":"b","format":"split","firmware":"uefi","cases":[
            {"name":"x::y","spec":[],"outcome":"passed","seconds":1,"text":""}]}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("# Top\n{BEGIN}\nold\n{END}\nbottom\n");
        let new = with_matrix(&text, &report()).unwrap();
        assert!(new.starts_with("# Top\n") && new.ends_with("\nbottom\n") && !new.contains("old"));
        assert!(new.contains("| a + b | 1/1 (loop) |"), "{new}");
        assert_eq!(with_matrix(&new, &report()).unwrap(), new);
        assert!(with_matrix("no marks", &report()).is_err());
    }
}
