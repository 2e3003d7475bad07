//! Steps with their times, and the report at the end: what failed, what was left out, and the count.

use std::{
    io::{BufRead, BufReader, IsTerminal as _, Read},
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use bootwright_conformance::host;

use crate::count::{Count, without_colour};

/// A run of several steps, in which a failing one does not stop the others.
#[derive(Debug)]
pub struct Steps {
    started: Instant,
    count: Count,
    failed: Vec<String>,
    notes: Vec<String>,
}

impl Steps {
    /// None yet.
    pub fn start() -> Self {
        Self { started: Instant::now(), count: Count::default(), failed: Vec::new(), notes: Vec::new() }
    }

    /// Runs something that is right or wrong. A wrong one counts as one failure. Returns whether it was right.
    pub fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        self.timed(Instant::now(), name, || work().map(|()| String::new())).is_some()
    }

    /// Runs tests, and returns their count without what was skipped, which only the caller can add up over several
    /// runs. A run that fails without a failing test counts as one failure.
    pub fn tests(&mut self, name: &str, command: &mut Command) -> Count {
        self.counted(name, || run_tests(command, &mut |line| println!("{line}")))
    }

    /// Runs work that counts its tests itself: one that fails is shown by it.
    pub fn counted_tests(&mut self, name: &str, work: impl FnOnce() -> Result<Count>) {
        self.counted(name, || match work() {
            Ok(count) => judge(true, Some(count)),
            Err(error) => (Err(error), Count::FAILURE),
        });
    }

    /// Starts tests that run beside other steps, until [`Steps::join`]: for what leaves a processor idle.
    pub fn start_tests(name: &str, mut command: Command) -> Started {
        let work = move || {
            let mut shown = Vec::new();
            let outcome = run_tests(&mut command, &mut |line| shown.push(line.to_owned()));
            (outcome, shown)
        };
        Started { name: name.to_owned(), since: Instant::now(), work: thread::spawn(work) }
    }

    /// Waits for tests that were started, and then shows them as [`Steps::tests`] does.
    pub fn join(&mut self, started: Started) -> Count {
        let Started { name, since, work } = started;
        self.counted_since(since, &name, || {
            let Ok((outcome, shown)) = work.join() else {
                return (Err(anyhow::anyhow!("the thread that ran it panicked")), Count::FAILURE);
            };
            for line in shown {
                println!("{line}");
            }
            outcome
        })
    }

    fn counted(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> Count {
        self.counted_since(Instant::now(), name, work)
    }

    fn counted_since(&mut self, start: Instant, name: &str, work: impl FnOnce() -> Outcome) -> Count {
        let mut count = Count::default();
        self.timed(start, name, || {
            let outcome = work();
            count = outcome.1;
            outcome.0.map(|()| count.to_string())
        });
        if count.failed > 0 {
            // `timed` has counted one for the step.
            count.failed -= 1;
        }
        self.count += Count { skipped: 0, ..count };
        count
    }

    /// Tests that did not run in any step.
    pub fn skipped(&mut self, number: u64) {
        self.count.skipped += number;
    }

    /// Says something at the end, where it is seen.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn timed(&mut self, start: Instant, name: &str, work: impl FnOnce() -> Result<String>) -> Option<String> {
        println!("\n==> {name}");
        let outcome = work();
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(text) => {
                let text = if text.is_empty() { "ok" } else { &text };
                println!("<== {name}: {text} in {seconds:.1} s");
                Some(text.to_owned())
            }
            Err(error) => {
                println!("<== {name}: FAILED after {seconds:.1} s: {error:#}");
                self.failed.push(name.to_owned());
                self.count += Count::FAILURE;
                None
            }
        }
    }

    /// Prints the report for checks alone, without a count.
    pub fn finish_checks(self) -> ExitCode {
        self.summary();
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Prints the report. Its last line is the count. No test at all is a failure.
    pub fn finish_tests(mut self) -> ExitCode {
        if self.count.ran() == 0 {
            self.failed.push("no test was run".to_owned());
            self.count += Count::FAILURE;
        }
        self.summary();
        println!("{}", self.count);
        if self.count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn summary(&self) {
        println!("\nall steps took {:.0} s", self.started.elapsed().as_secs_f32());
        for note in &self.notes {
            println!("note: {note}");
        }
        for name in &self.failed {
            println!("failed: {name}");
        }
    }
}

/// Tests that run beside other steps.
#[derive(Debug)]
pub struct Started {
    name: String,
    since: Instant,
    work: thread::JoinHandle<(Outcome, Vec<String>)>,
}

/// What came of tests: an error says why they are a failure, whatever was counted.
type Outcome = (Result<()>, Count);

/// Runs a command with our standard streams.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = host::command_line(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs tests; their output is shown while it comes, and counted.
fn run_tests(command: &mut Command, show: &mut dyn FnMut(&str)) -> Outcome {
    match output_lines(command, show) {
        Err(error) => (Err(error), Count::FAILURE),
        Ok((success, lines)) => judge(success, Count::in_output(&lines)),
    }
}

fn judge(success: bool, count: Option<Count>) -> Outcome {
    let mut count = count.unwrap_or_default();
    if count.failed > 0 {
        return (Err(anyhow::anyhow!("{count}")), count);
    }
    if success {
        return (Ok(()), count);
    }
    count += Count::FAILURE;
    (Err(anyhow::anyhow!("the test runner failed, though no test did")), count)
}

fn output_lines(command: &mut Command, show: &mut dyn FnMut(&str)) -> Result<(bool, Vec<String>)> {
    let shown = host::command_line(command);
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let (sender, lines) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|stream| forward(stream, sender.clone())),
        child.stderr.take().map(|stream| forward(stream, sender)),
    ];
    let collected = lines.into_iter().inspect(|line| show(line)).collect::<Vec<String>>();
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    Ok((status.success(), collected.iter().map(|line| without_colour(line)).collect()))
}

fn forward(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            line.clear();
            if lines.send(text).is_err() {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_run_that_fails_before_any_test_counts_as_one_failure() {
        let mut steps = Steps::start();
        steps.tests("x", &mut shell("echo error: could not compile >&2; exit 101"));
        assert_eq!(steps.count, Count { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn failing_tests_count_once_each() {
        let mut steps = Steps::start();
        let summary = "test result: FAILED. 1 passed; 2 failed; 3 ignored; 0 measured; 0 filtered out;";
        let count = steps.tests("x", &mut shell(&format!("echo '{summary}'; exit 101")));
        assert_eq!(steps.count, Count { passed: 1, failed: 2, skipped: 0 });
        assert_eq!(count.skipped, 3);
    }

    #[test]
    fn summaries_on_both_streams_are_seen() {
        let summary = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out;";
        let mut steps = Steps::start();
        steps.tests("x", &mut shell(&format!("echo '{summary}'; echo '{summary}' >&2")));
        assert_eq!(steps.count, Count { passed: 2, failed: 0, skipped: 0 });
    }

    #[test]
    fn work_that_counts_for_itself_adds_up_and_its_errors_count_once() {
        let mut steps = Steps::start();
        steps.counted_tests("x", || Ok(Count { passed: 3, failed: 1, skipped: 0 }));
        steps.counted_tests("y", || anyhow::bail!("cannot be built"));
        assert_eq!(steps.count, Count { passed: 3, failed: 2, skipped: 0 });
    }

    #[test]
    fn tests_that_ran_beside_other_steps_count_when_they_are_waited_for() {
        let mut steps = Steps::start();
        let summary = "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out;";
        let started = Steps::start_tests("x", shell(&format!("echo '{summary}'; exit 101")));
        assert_eq!(steps.count, Count::default());
        assert_eq!(steps.join(started).passed, 4);
        assert_eq!(steps.count, Count { passed: 4, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_program_that_does_not_exist_is_a_failure() {
        let mut steps = Steps::start();
        assert!(!steps.check("x", || run(&mut Command::new("/no/such/program"))));
        steps.tests("y", &mut Command::new("/no/such/program"));
        assert_eq!(steps.count.failed, 2);
    }

    #[test]
    fn a_run_without_any_test_fails() {
        assert_eq!(format!("{:?}", Steps::start().finish_tests()), format!("{:?}", ExitCode::FAILURE));
    }
}
