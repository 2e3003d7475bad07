//! How many tests passed, failed and were skipped, read from what cargo-nextest and libtest print.

use std::{fmt, ops::AddAssign};

/// How libtest's summary begins.
const RESULT: &str = "test result: ";

/// Numbers of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Ran and passed.
    pub passed: u64,
    /// Ran and failed, timed out, or could not be started. A check that fails counts as one.
    pub failed: u64,
    /// Exist, but did not run.
    pub skipped: u64,
}

impl Count {
    /// One failure.
    pub const FAILURE: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Tests that ran.
    pub fn ran(self) -> u64 {
        self.passed + self.failed
    }

    /// What a test runner's whole output says; `None` if it ends without a summary.
    pub fn in_output(output: &[String]) -> Option<Self> {
        let (mut found, mut running) = (None, 0_u32);
        for line in output {
            running += u32::from(is_libtest_start(line));
            let count = nextest(line).or_else(|| libtest(line, running > 1));
            running = running.saturating_sub(u32::from(line.starts_with(RESULT)));
            if let Some(count) = count {
                *found.get_or_insert_default() += count;
            }
        }
        found
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 3 skipped`
fn nextest(line: &str) -> Option<Count> {
    let rest = line.trim_start().strip_prefix("Summary [")?;
    let (head, numbers) = rest.split_once(" run: ")?;
    if !(head.ends_with(" tests") || head.ends_with(" test")) {
        return None;
    }
    let mut count = Count::default();
    for (number, word) in items(&without_parentheses(numbers), ',') {
        match word.as_str() {
            "passed" => count.passed += number,
            "skipped" => count.skipped += number,
            _ => count.failed += number,
        }
    }
    Some(count)
}

/// `running 5 tests`
fn is_libtest_start(line: &str) -> bool {
    let number = line.strip_prefix("running ").and_then(|rest| rest.split_once(" test"));
    number.is_some_and(|(number, _)| number.parse::<u64>().is_ok())
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`, not indented: nextest indents what the tests that it
/// counts printed.
///
/// A test that runs itself once more in a process of its own, as those of mounts do, lets that process print such a line as
/// well, `inner`: one test, all others filtered out. The test itself is counted, so that line is not.
fn libtest(line: &str, inner: bool) -> Option<Count> {
    let (_, numbers) = line.strip_prefix(RESULT)?.split_once(". ")?;
    let (mut count, mut filtered) = (Count::default(), 0);
    for (number, word) in items(numbers, ';') {
        match word.as_str() {
            "passed" => count.passed += number,
            "failed" => count.failed += number,
            "ignored" => count.skipped += number,
            "filtered out" => filtered += number,
            _ => {}
        }
    }
    let again = inner && count.ran() == 1 && count.skipped == 0 && filtered > 0;
    count.skipped += filtered;
    Some(if again { Count::default() } else { count })
}

/// The parts that are a number and a word.
fn items(text: &str, separator: char) -> Vec<(u64, String)> {
    let item = |part: &str| {
        let (number, word) = part.trim().split_once(' ')?;
        Some((number.parse().ok()?, word.trim().to_owned()))
    };
    text.split(separator).filter_map(item).collect()
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    let keep = |c: &char| match c {
        '(' => {
            depth += 1;
            false
        }
        ')' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    };
    text.chars().filter(keep).collect()
}

/// A line without the escape sequences that colour it (ECMA-48, `CSI … m`).
pub fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, tail)| tail);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<Count> {
        Count::in_output(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_nextest_summary_counts_timeouts_as_failures() {
        let line = "     Summary [   0.013s] 21 tests run: 18 passed (1 slow, 2 leaky), 1 failed, 2 timed out, 20 skipped";
        assert_eq!(of(&["noise", line]), Some(Count { passed: 18, failed: 3, skipped: 20 }));
    }

    #[test]
    fn a_cancelled_nextest_run_is_understood() {
        let line = "     Summary [   0.013s] 1/3 tests run: 0 passed, 1 failed, 0 skipped";
        assert_eq!(of(&[line]), Some(Count { passed: 0, failed: 1, skipped: 0 }));
    }

    #[test]
    fn the_summaries_of_several_test_programs_add_up() {
        let one =
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s";
        let two =
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s";
        assert_eq!(of(&[one, "x", two]), Some(Count { passed: 6, failed: 2, skipped: 8 }));
    }

    #[test]
    fn a_test_that_runs_itself_once_more_is_counted_once() {
        let inner =
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 100 filtered out; finished in 1.1s";
        let outer =
            "test result: ok. 101 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 41s";
        let lines = ["running 101 tests", "running 1 test", inner, outer];
        assert_eq!(of(&lines), Some(Count { passed: 101, failed: 0, skipped: 0 }));
    }

    #[test]
    fn the_only_test_that_was_asked_for_counts() {
        let line =
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 145.19s";
        assert_eq!(of(&["running 1 test", line]), Some(Count { passed: 1, failed: 0, skipped: 2 }));
    }

    #[test]
    fn what_a_test_printed_is_not_counted_beside_the_summary_of_nextest() {
        let shown = "    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 31.7s";
        let summary = "     Summary [ 676.303s] 19 tests run: 19 passed, 0 skipped";
        let lines = ["    running 1 test", shown, summary];
        assert_eq!(of(&lines), Some(Count { passed: 19, failed: 0, skipped: 0 }));
    }

    #[test]
    fn output_without_a_summary_has_no_count() {
        assert_eq!(of(&["error: could not compile", "Summary [oops"]), None);
    }

    #[test]
    fn the_count_is_printed_as_one_plain_line() {
        assert_eq!(Count { passed: 3, failed: 0, skipped: 1 }.to_string(), "3 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(of(&[&without_colour(line)]), Some(Count { passed: 2, failed: 0, skipped: 0 }));
    }
}
