//! Every numbered requirement of the specification is cited by a test, and every citation names a requirement.
//!
//! A requirement is a paragraph of `docs/spec.md` that begins with its number, as in `- **BW-101** The engine MUST …`.
//! A test cites it in its doc comment, on a line of its own: `/// spec: BW-101, BW-102`. A case of the conformance suite lists it in
//! its description: `["BW-101", "BW-102"]`.

use std::collections::{BTreeMap, BTreeSet};

use super::Input;
use crate::workspace::SourceFile;

const SPECIFICATION: &str = "docs/spec.md";
const PREFIX: &str = "BW-";
/// How far below a citation its function may begin.
const NEAR: usize = 15;
/// Where the cases of the conformance suite are.
const CASES: &str = "conformance-tests/src/suite/cases/";

/// Requirements without a test, citations without a requirement, and citations that are not on a test.
pub fn check(input: &Input) -> Vec<String> {
    let text = input.sources.iter().find(|file| file.path == SPECIFICATION).map(|file| file.text.as_str());
    let (requirements, mut problems) = requirements(text.unwrap_or_default());
    if requirements.is_empty() {
        problems.push(format!("{SPECIFICATION}: there is no requirement in it"));
    }
    let rust = input.sources.iter().filter(|file| file.is("rs"));
    let citations: Vec<_> = rust.flat_map(|file| citations(file).into_iter().chain(in_cases(file))).collect();
    let cited: BTreeSet<_> = citations.iter().map(|citation| citation.number.as_str()).collect();
    for number in requirements.keys().filter(|number| !cited.contains(number.as_str())) {
        problems.push(format!("{SPECIFICATION}: no test cites {number}"));
    }
    for citation in &citations {
        let Citation { place, number, on_test } = citation;
        if !requirements.contains_key(number) {
            problems.push(format!("{place}: {SPECIFICATION} has no {number}"));
        }
        if !on_test {
            problems.push(format!("{place}: the citation of {number} is not in the doc comment of a test"));
        }
    }
    problems
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
    place: String,
    number: String,
    on_test: bool,
}

fn citations(file: &SourceFile) -> Vec<Citation> {
    let lines: Vec<_> = file.text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(numbers) = line.strip_prefix("/// spec: ") else { continue };
        let on_test = is_on_test(&lines, index);
        let place = format!("{}:{}", file.path, index + 1);
        let one = |number: &str| Citation { place: place.clone(), number: number.trim().to_owned(), on_test };
        found.extend(numbers.trim_end_matches('.').split(',').map(one));
    }
    found
}

/// Numbers in the descriptions of conformance cases: strings of their own.
fn in_cases(file: &SourceFile) -> Vec<Citation> {
    if !file.path.starts_with(CASES) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.path, index + 1);
        let quoted = line.split('"').filter(|text| is_number(text));
        found.extend(quoted.map(|number| Citation {
            place: place.clone(),
            number: number.to_owned(),
            on_test: true,
        }));
    }
    found
}

/// Whether an attribute between here and the function, or above the doc comment, makes it a test.
fn is_on_test(lines: &[&str], index: usize) -> bool {
    let above =
        lines.iter().take(index).rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    let below = lines.iter().skip(index).take(NEAR).take_while(|line| !line.contains("fn "));
    above
        .chain(below)
        .any(|line| line.starts_with("#[") && (line.contains("test]") || line.contains("test(")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }
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
        let text = "case!(\"boot::x\", [\"BW-001\", \"BW-002\"], [], Running, x)".to_owned();
        let case = SourceFile { path: format!("{CASES}boot.rs"), text: text.clone() };
        let numbers: Vec<_> = in_cases(&case).into_iter().map(|citation| citation.number).collect();
        assert_eq!(numbers, ["BW-001", "BW-002"]);
        assert!(in_cases(&file(&text)).is_empty());
    }

    #[test]
    fn the_attribute_may_stand_above_the_comment() {
        let text = ["#[test]\n//", "/ spec: BW-001\nfn a() {}"].concat();
        assert!(citations(&file(&text)).iter().all(|citation| citation.on_test));
    }
}
