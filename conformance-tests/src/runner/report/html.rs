//! For a browser: one file that needs no other.

use std::fmt::Write as _;

use super::{CaseReport, CellReport, Outcome, Report};

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}\
    th,td{border:1px solid #ccc;padding:2px 8px;text-align:left;vertical-align:top}th{background:#f4f4f4}\
    .passed{background:#e3f5e1}.failed{background:#fadcd9}.ignored{background:#f2f2f2;color:#666}\
    .n{text-align:right}pre{white-space:pre-wrap;background:#f8f8f8;padding:1em;border-left:4px solid #c33}\
    .names th{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:normal}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Ignored => "ignored",
    }
}

impl Report {
    /// The matrix with timings, every case on every cell, and what failures said.
    pub fn html(&self) -> String {
        let mut text = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
        let _ = write!(text, "<title>Bootwright conformance</title><style>{STYLE}</style>");
        let _ = write!(
            text,
            "<h1>Bootwright conformance</h1><p>{} passed, {} failed, {} ignored, in {:.1} s</p>",
            self.count(Outcome::Passed),
            self.count(Outcome::Failed),
            self.count(Outcome::Ignored),
            self.seconds
        );
        self.cells_table(&mut text);
        self.failures(&mut text);
        self.ignored_list(&mut text);
        self.cases_table(&mut text);
        text.push_str("</html>\n");
        text
    }

    fn cells_table(&self, text: &mut String) {
        text.push_str("<h2>Cells</h2><table><tr><th>tier<th>cell<th>passed<th>failed<th>ignored<th>seconds");
        for cell in &self.cells {
            let all = if cell.count(Outcome::Failed) > 0 { "failed" } else { "passed" };
            let _ = write!(
                text,
                "<tr class={all}><td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{:.1}",
                cell.tier,
                escaped(&cell.title()),
                cell.count(Outcome::Passed),
                cell.count(Outcome::Failed),
                cell.count(Outcome::Ignored),
                cell.seconds()
            );
        }
        text.push_str("</table>");
    }

    fn failures(&self, text: &mut String) {
        if self.count(Outcome::Failed) == 0 {
            return;
        }
        text.push_str("<h2>Failures</h2>");
        for cell in &self.cells {
            for case in cell.cases.iter().filter(|case| case.outcome == Outcome::Failed) {
                let (title, name) = (escaped(&cell.title()), escaped(&case.name));
                let _ =
                    write!(text, "<h3>{} {title}: {name}</h3><pre>{}</pre>", cell.tier, escaped(&case.text));
            }
        }
    }

    fn ignored_list(&self, text: &mut String) {
        text.push_str("<h2>Ignored</h2><ul>");
        for (reason, times) in self.reasons() {
            let _ = write!(text, "<li>{times} times: {}", escaped(reason));
        }
        text.push_str("</ul>");
    }

    fn cases_table(&self, text: &mut String) {
        text.push_str("<h2>Cases</h2><table><tr class=names><th>case<th>specification");
        for cell in &self.cells {
            let _ = write!(text, "<th>{} {}", cell.tier, escaped(&cell.title()));
        }
        for name in self.names() {
            let spec = self.cells.iter().find_map(|cell| find(cell, name)).map(|case| case.spec.join(" "));
            let _ = write!(text, "<tr><td>{}<td>{}", escaped(name), spec.unwrap_or_default());
            for cell in &self.cells {
                text.push_str(&cell_of(find(cell, name)));
            }
        }
        text.push_str("</table>");
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for case in self.cells.iter().flat_map(|cell| &cell.cases) {
            if !names.contains(&case.name.as_str()) {
                names.push(&case.name);
            }
        }
        names
    }
}

fn find<'a>(cell: &'a CellReport, name: &str) -> Option<&'a CaseReport> {
    cell.cases.iter().find(|case| case.name == name)
}

fn cell_of(case: Option<&CaseReport>) -> String {
    let Some(case) = case else { return "<td>".to_owned() };
    let (class, title) = (class(case.outcome), escaped(case.text.lines().next().unwrap_or_default()));
    let shown = match case.outcome {
        Outcome::Ignored => "–".to_owned(),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Passed => format!("{:.2}", case.seconds),
    };
    format!("<td class=\"{class} n\" title=\"{title}\">{shown}")
}
