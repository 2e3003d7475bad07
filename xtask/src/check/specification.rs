//! Every numbered requirement of the specification is cited by a test, and every citation names a requirement.
//!
//! A requirement is a paragraph of `docs/spec.md` that begins with its number, as in `- **BW-101** The engine MUST …`.
//! A test cites it in its doc comment, on a line of its own: `/// spec: BW-101, BW-102`. A case of the conformance suite lists it in
//! its description: `["BW-101", "BW-102"]`.
//!
//! What no test of `cargo xtask test` tries, but a case that somebody has to ask for, says so: `(on demand: `cargo xtask conformance … --case X`)`.

use std::collections::BTreeMap;

use bootwright_conformance::{
    runner::tried_for_each_change,
    suite::{Case, all_cases},
};

use super::Input;
use crate::workspace::SourceFile;

const SPECIFICATION: &str = "docs/spec.md";
const PREFIX: &str = "BW-";
/// How far below a citation its function may begin.
const NEAR: usize = 15;
/// Begins the mark of a requirement that is tried on demand; the command follows, between backticks.
const MARK: &str = "(on demand: `";
/// What a test says that is ignored only until `cargo xtask test` runs it.
const RUN_LATER: &str = "`cargo xtask test`";

/// Requirements without a test, citations without a requirement, and citations that are not on a test.
pub fn check(input: &Input) -> Vec<String> {
    let text = input.sources.iter().find(|file| file.path == SPECIFICATION).map(|file| file.text.as_str());
    let (requirements, mut problems) = requirements(text.unwrap_or_default());
    if requirements.is_empty() {
        problems.push(format!("{SPECIFICATION}: there is no requirement in it"));
    }
    let rust = input.sources.iter().filter(|file| file.is("rs"));
    let citations: Vec<_> = rust.flat_map(citations).chain(in_cases(&all_cases())).collect();
    for (number, text) in &requirements {
        let cited: Vec<_> = citations.iter().filter(|citation| citation.number == *number).collect();
        problems.extend(demand_problem(number, text, &cited));
    }
    for citation in &citations {
        let Citation { place, number, on_test, .. } = citation;
        if !requirements.contains_key(number) {
            problems.push(format!("{place}: {SPECIFICATION} has no {number}"));
        }
        if !on_test {
            problems.push(format!("{place}: the citation of {number} is not in the doc comment of a test"));
        }
    }
    problems
}

/// Whether a requirement is cited, and marked exactly if nothing tries it without being asked.
fn demand_problem(number: &str, text: &str, citations: &[&Citation]) -> Option<String> {
    let mark = text.split_once(MARK).map(|(_, rest)| rest.split('`').next().unwrap_or_default());
    let Some(first) = citations.first() else {
        return Some(format!("{SPECIFICATION}: no test cites {number}"));
    };
    let on_demand = citations.iter().all(|citation| citation.on_demand);
    let shown = match mark {
        None if on_demand => format!(
            "{number} is tried on demand only: write {MARK}cargo xtask conformance --tier vm --case {}`)",
            first.place
        ),
        Some(_) if !on_demand => {
            format!("{number} is marked as tried on demand, but `cargo xtask test` tries it")
        }
        Some(command) if !runs_one_of(command, citations) => {
            format!("{number}: `{command}` runs none of the cases that cite it, such as {}", first.place)
        }
        _ => return None,
    };
    Some(format!("{SPECIFICATION}: {shown}"))
}

/// Whether the cases that a command asks for are among those that cite a requirement.
fn runs_one_of(command: &str, citations: &[&Citation]) -> bool {
    let case = command.split_once("--case ").map(|(_, case)| case.trim());
    case.is_some_and(|case| citations.iter().any(|citation| citation.place.contains(case)))
}

/// The text of each requirement by its number, and what is wrong with them.
fn requirements(specification: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut current: Option<String> = None;
    for line in specification.lines() {
        if let Some(number) = number_at_start(line) {
            if found.insert(number.clone(), String::new()).is_some() {
                problems.push(format!("{SPECIFICATION}: {number} is there twice"));
            }
            current = Some(number);
        } else if line.trim().is_empty() || line.starts_with('#') {
            current = None;
        }
        if let Some(text) = current.as_ref().and_then(|number| found.get_mut(number)) {
            text.push_str(line);
        }
    }
    let weak = found.iter().filter(|(_, text)| !text.contains("MUST"));
    problems.extend(weak.map(|(number, _)| format!("{SPECIFICATION}: {number} does not say MUST")));
    (found, problems)
}

fn number_at_start(line: &str) -> Option<String> {
    let (number, _) = line.trim_start().strip_prefix("- **")?.split_once("**")?;
    is_number(number).then(|| number.to_owned())
}

fn is_number(text: &str) -> bool {
    text.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// One number in one doc comment.
#[derive(Debug, PartialEq, Eq)]
struct Citation {
    /// The line, or the name of the case.
    place: String,
    number: String,
    on_test: bool,
    /// Whether `cargo xtask test` leaves it out.
    on_demand: bool,
}

fn citations(file: &SourceFile) -> Vec<Citation> {
    let lines: Vec<_> = file.text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(numbers) = line.strip_prefix("/// spec: ") else { continue };
        let attributes = attributes(&lines, index);
        let on_test = attributes.iter().any(|line| line.contains("test]") || line.contains("test("));
        let on_demand = attributes.iter().any(|line| line.contains("ignore") && !line.contains(RUN_LATER));
        let place = format!("{}:{}", file.path, index + 1);
        let one = |number: &str| {
            let (place, number) = (place.clone(), number.trim().to_owned());
            Citation { place, number, on_test, on_demand }
        };
        found.extend(numbers.trim_end_matches('.').split(',').map(one));
    }
    found
}

/// Numbers in the descriptions of conformance cases.
fn in_cases(cases: &[Case]) -> Vec<Citation> {
    let cites = |case: &Case, number: &str| Citation {
        place: case.name.to_owned(),
        number: number.to_owned(),
        on_test: true,
        on_demand: !tried_for_each_change(case),
    };
    cases
        .iter()
        .flat_map(|case| case.spec.iter().map(|number| cites(case, number)).collect::<Vec<_>>())
        .collect()
}

/// Those between here and the function, and above the doc comment.
fn attributes<'a>(lines: &[&'a str], index: usize) -> Vec<&'a str> {
    let above =
        lines.iter().take(index).rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    let below = lines.iter().skip(index).take(NEAR).take_while(|line| !line.contains("fn "));
    above.chain(below).copied().filter(|line| line.starts_with("#[")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_specification_of_this_repository_holds() {
        let found = check(&Input::read(&crate::workspace::Workspace::find()).unwrap());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn requirements_are_numbered_paragraphs_that_say_must() {
        let (found, problems) =
            requirements("# X\n- **BW-001** It MUST\n  hold.\n- **BW-002** It may.\n\nBW-003");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["BW-001", "BW-002"]);
        assert_eq!(problems, ["docs/spec.md: BW-002 does not say MUST"]);
    }

    #[test]
    fn a_number_is_used_once() {
        let (_, problems) = requirements("- **BW-001** MUST\n- **BW-001** MUST");
        assert_eq!(problems, ["docs/spec.md: BW-001 is there twice"]);
    }

    #[test]
    fn a_citation_counts_on_a_test_only() {
        let text = [
            "/// Shows it.\n//",
            "/ spec: BW-001, BW-002\n#[tokio::test]\nasync fn a() {}\n",
            "//",
            "/ spec: BW-003\nfn b() {}",
        ];
        let found: Vec<_> =
            citations(&file(&text.concat())).into_iter().map(|c| (c.number, c.on_test)).collect();
        let expected = [("BW-001", true), ("BW-002", true), ("BW-003", false)];
        assert_eq!(found, expected.map(|(number, on_test)| (number.to_owned(), on_test)));
    }

    #[test]
    fn a_conformance_case_lists_its_numbers() {
        let found = in_cases(&all_cases());
        let of = |name: &str| found.iter().filter(|c| c.place == name).collect::<Vec<_>>();
        let life = of("life::from_the_install_to_the_last_upgrade");
        assert!(life.iter().any(|c| c.number == "BW-101") && life.iter().all(|c| c.on_test && !c.on_demand));
        assert!(found.iter().any(|citation| citation.on_demand), "some need a machine that nobody pins");
    }

    #[test]
    fn a_test_that_is_ignored_for_good_is_tried_on_demand() {
        let text = |reason: &str| {
            ["//", "/ spec: BW-001\n#[test]\n#[ignore = \"", reason, "\"]\nfn a() {}"].concat()
        };
        let on_demand = |reason: &str| citations(&file(&text(reason))).iter().all(|c| c.on_demand);
        assert!(on_demand("takes an hour") && !on_demand("slow; `cargo xtask test` runs it"));
    }

    fn cited(on_demand: bool) -> Citation {
        let (place, number) = ("kernel::panics".to_owned(), "BW-001".to_owned());
        Citation { place, number, on_test: true, on_demand }
    }

    #[test]
    fn what_is_tried_on_demand_only_is_marked_with_its_command_and_nothing_else_is() {
        let problem = |text: &str, citations: &[&Citation]| demand_problem("BW-001", text, citations);
        let marked = "It MUST (on demand: `cargo xtask conformance --tier vm --case kernel::panics`).";
        let (asked, always) = (&cited(true), &cited(false));
        assert_eq!(problem(marked, &[asked]), None);
        assert_eq!(problem("It MUST.", &[asked, always]), None);
        assert!(problem("It MUST.", &[asked]).unwrap().contains("on demand: `cargo xtask"));
        assert!(problem(marked, &[asked, always]).unwrap().contains("but `cargo xtask test` tries it"));
        assert!(problem(&marked.replace("panics", "other"), &[asked]).unwrap().contains("runs none"));
        assert!(problem("It MUST.", &[]).unwrap().contains("no test"));
    }

    #[test]
    fn the_attribute_may_stand_above_the_comment() {
        let text = ["#[test]\n//", "/ spec: BW-001\nfn a() {}"].concat();
        assert!(citations(&file(&text)).iter().all(|citation| citation.on_test));
    }
}
