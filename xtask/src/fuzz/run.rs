//! Running fuzz targets: several at a time, each over its corpus, for a bounded time and in bounded memory.

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};

use super::{
    build::Build,
    outcome::{Outcome, judge},
};
use crate::count::Count;

/// Seconds for one input. Inputs are a few KiB: a parser that takes a second is broken, and a busy machine is ten times slower.
const TIMEOUT: u64 = 20;
/// Resident memory of one target, in MiB, the fuzzer's own included. Targets have tighter bounds for what they call.
const MEMORY: u64 = 1024;
/// Bytes of one input. What needs more is not found by chance.
const LENGTH: u64 = 16 << 10;

/// Which corpus a run goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corpus {
    /// The committed one and what earlier runs have found.
    Growing,
    /// The committed one alone, and the same random numbers each time: a test must not fail by chance.
    Committed,
}

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seconds for each target.
    pub seconds: u64,
    /// Targets at the same time.
    pub jobs: NonZeroUsize,
    /// Where to start.
    pub corpus: Corpus,
}

/// Runs all of `targets`, printing one line for each, and counts each as a test.
///
/// # Errors
/// When a folder cannot be made. A crash is no error: it is counted.
pub fn all(build: &Build, targets: &[String], plan: Plan) -> Result<Count> {
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<Count> {
        let mut count = Count::default();
        while let Some(target) = next() {
            let outcome = one(build, target, plan)?;
            println!("{}", describe(target, &outcome));
            count += score(&outcome);
        }
        Ok(count)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.jobs.get()).map(|_| scope.spawn(work)).collect();
        let mut count = Count::default();
        for worker in workers {
            count +=
                worker.join().map_err(|_| anyhow::anyhow!("a thread that runs fuzz targets panicked"))??;
        }
        Ok(count)
    })
}

/// Runs one target to its end.
fn one(build: &Build, target: &str, plan: Plan) -> Result<Outcome> {
    let seeds = build.corpora.join(target);
    let log = prepare(build.folder.join("logs"))?.join(format!("{target}.log"));
    let crashes = prepare(build.folder.join("crashes").join(target))?;
    // New inputs go to the first folder of a corpus, which must not be the committed one.
    let scratch = tempfile::tempdir_in(&build.folder).context("cannot make a folder for new inputs")?;
    let mut command = build.command(target);
    match plan.corpus {
        Corpus::Growing => command.arg(prepare(build.folder.join("corpus").join(target))?),
        Corpus::Committed => command.arg("-seed=1").arg(scratch.path()),
    };
    command.arg(seeds);
    command.args(limits(plan.seconds)).arg(format!("-artifact_prefix={}/", crashes.display()));
    let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    // The target may print for itself (a library's warnings): all of that goes to the log as well.
    let status = command.stdout(file.try_clone()?).stderr(file).status();
    let status = status.with_context(|| format!("cannot start the fuzz target {target}"))?;
    Ok(judge(status.success(), &text_of(&log)))
}

fn limits(seconds: u64) -> [String; 5] {
    [
        format!("-max_total_time={seconds}"),
        format!("-timeout={TIMEOUT}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={LENGTH}"),
        "-print_final_stats=1".to_owned(),
    ]
}

fn prepare(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn text_of(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn score(outcome: &Outcome) -> Count {
    match outcome {
        Outcome::Clean { .. } => Count { passed: 1, ..Count::default() },
        Outcome::Crash { .. } | Outcome::Blind(_) => Count::FAILURE,
    }
}

fn describe(target: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Clean { inputs, reached } => {
            format!("{target}: {inputs} inputs, {reached} features reached")
        }
        Outcome::Blind(why) => format!("{target}: FAILED: {why}; see target/fuzz/logs/{target}.log"),
        Outcome::Crash { why, input: None } => {
            format!("{target}: FAILED: {why}\nsee target/fuzz/logs/{target}.log")
        }
        Outcome::Crash { why, input: Some(input) } => format!(
            "{target}: FAILED: {why}\nrun it again:  cargo xtask fuzz {target} --input {input}\n\
             when it is mended, keep the input below fuzz/corpus/{target}/ and say in docs/reliability.md what it was"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_says_how_to_reproduce_it() {
        let crash = Outcome::Crash { why: "panicked".to_owned(), input: Some("x/crash-1".to_owned()) };
        assert!(describe("gpt", &crash).contains("cargo xtask fuzz gpt --input x/crash-1"));
        assert_eq!(score(&crash), Count::FAILURE);
    }

    #[test]
    fn a_target_that_saw_nothing_is_a_failure() {
        assert_eq!(score(&Outcome::Blind(String::new())), Count::FAILURE);
        assert_eq!(score(&Outcome::Clean { inputs: 1, reached: 1 }).passed, 1);
    }
}
