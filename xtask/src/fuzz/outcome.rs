//! What libFuzzer printed: how much it tried, and what went wrong.

/// How one target's run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was found.
    Clean {
        /// Inputs that were tried.
        inputs: u64,
        /// Edges and comparisons that were reached.
        reached: u64,
    },
    /// An input was found that must not be: it is in this file, if it could be written.
    Crash {
        /// What happened, for people.
        why: String,
        /// The input.
        input: Option<String>,
    },
    /// The target says nothing of use: it was built without coverage, or did not start.
    Blind(String),
}

/// Judges a run by its exit and its output.
pub fn judge(success: bool, output: &str) -> Outcome {
    if !success {
        return Outcome::Crash { why: why(output), input: artifact(output) };
    }
    match (counters(output), statistic(output), reached(output)) {
        (Some(0) | None, ..) => Outcome::Blind("it was built without coverage".to_owned()),
        (_, Some(inputs), Some(reached)) if inputs > 0 => Outcome::Clean { inputs, reached },
        _ => Outcome::Blind("it tried no input".to_owned()),
    }
}

/// `INFO: Loaded 1 modules   (9 inline 8-bit counters): …`
fn counters(output: &str) -> Option<u64> {
    let line = output.lines().find(|line| line.contains("inline 8-bit counters"))?;
    line.split_once('(')?.1.split(' ').next()?.parse().ok()
}

/// `stat::number_of_executed_units: 9`
fn statistic(output: &str) -> Option<u64> {
    let mut values = output.lines().filter_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    values.next_back()?.trim().parse().ok()
}

/// `#9  DONE   cov: 9 ft: 9 corp: …`
fn reached(output: &str) -> Option<u64> {
    let mut values =
        output.lines().filter(|line| line.starts_with('#')).filter_map(|line| line.split_once(" ft: "));
    values.next_back()?.1.split(' ').next()?.parse().ok()
}

/// `artifact_prefix='…'; Test unit written to …`
fn artifact(output: &str) -> Option<String> {
    let line = output.lines().find_map(|line| line.split_once("Test unit written to "));
    line.map(|(_, path)| path.trim().to_owned())
}

/// The panic's message, which is two lines, or what libFuzzer says (a time-out, too much memory).
fn why(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let panic = lines.iter().position(|line| line.starts_with("thread '") && line.contains("panicked at"));
    if let Some(at) = panic {
        return lines.iter().skip(at).take(4).copied().collect::<Vec<_>>().join("\n");
    }
    let said = lines.iter().find(|line| line.contains("ERROR: libFuzzer"));
    said.or(lines.last()).copied().unwrap_or("it printed nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "INFO: Running with entropic power schedule (0xFF, 100).\n\
        INFO: Loaded 1 modules   (5123 inline 8-bit counters): 5123 [0x1, 0x2), \n\
        #4\tINITED cov: 90 ft: 91 corp: 2/3b exec/s: 0 rss: 30Mb\n\
        #123\tDONE   cov: 100 ft: 200 corp: 9/1Kb lim: 11 exec/s: 0 rss: 33Mb\n\
        stat::number_of_executed_units: 123\n";

    #[test]
    fn a_clean_run_says_how_much_it_tried_and_reached() {
        assert_eq!(judge(true, GOOD), Outcome::Clean { inputs: 123, reached: 200 });
    }

    #[test]
    fn a_run_without_coverage_or_without_inputs_does_not_count_as_clean() {
        let without_coverage = GOOD.replace("5123 inline", "0 inline");
        let without_inputs = GOOD.replace("units: 123", "units: 0");
        for output in [without_coverage.as_str(), without_inputs.as_str(), "", "ok"] {
            assert!(matches!(judge(true, output), Outcome::Blind(_)), "{output}");
        }
    }

    #[test]
    fn a_panic_is_shown_with_the_input_that_caused_it() {
        let output = "#9 NEW cov: 1 ft: 1\nthread '<unnamed>' (9) panicked at a.rs:1:2:\nlost\nnote\n\
            ==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-12\n";
        let Outcome::Crash { why, input } = judge(false, output) else { panic!("not a crash") };
        assert!(why.starts_with("thread '<unnamed>' (9) panicked at a.rs:1:2:\nlost"), "{why}");
        assert_eq!(input.as_deref(), Some("x/crash-12"));
    }

    #[test]
    fn a_time_out_is_named() {
        let output = "x\n==1== ERROR: libFuzzer: timeout after 20 seconds\nend\n";
        let Outcome::Crash { why, .. } = judge(false, output) else { panic!("not a crash") };
        assert!(why.contains("timeout after 20 seconds"));
    }
}
