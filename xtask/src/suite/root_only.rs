//! Which tests need root: those that say `Needs root` in their doc comment, or whose file says so at its top.

use crate::workspace::SourceFile;

const MARK: &str = "Needs root";

/// Names of the test functions in `files` that only root can run, sorted.
pub fn tests(files: &[SourceFile]) -> Vec<String> {
    let mut names: Vec<_> = files.iter().filter(|file| file.is("rs")).flat_map(in_file).collect();
    names.sort();
    names.dedup();
    names
}

fn in_file(file: &SourceFile) -> Vec<String> {
    let whole = file.text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains(MARK));
    let mut names = Vec::new();
    let mut test = Marks::default();
    for line in file.text.lines().map(str::trim) {
        if line.starts_with("///") {
            test.root |= line.contains(MARK);
        } else if line.starts_with("#[") {
            test.is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(name) = function_name(line) {
            if test.is_test && (test.root || whole) {
                names.push(name.to_owned());
            }
            test = Marks::default();
        } else if line.is_empty() || line == "}" {
            test = Marks::default();
        }
    }
    names
}

/// What stands above a function.
#[derive(Debug, Default)]
struct Marks {
    root: bool,
    is_test: bool,
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        tests(&[SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn a_marked_test_is_found_and_its_neighbours_are_not() {
        let text = "//! x\n/// Needs root.\n#[test]\nfn a() {\n}\n\n#[test]\nfn b() {}\n/// Needs root.\nfn helper() {}";
        assert_eq!(of(text), ["a"]);
    }

    #[test]
    fn a_marked_file_means_all_of_its_tests() {
        let text =
            "//! x. Needs root, and y.\nfn h() {}\n#[tokio::test]\nasync fn a() {}\n#[test]\nfn b() {}";
        assert_eq!(of(text), ["a", "b"]);
    }
}
