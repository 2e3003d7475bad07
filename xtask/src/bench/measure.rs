//! Runs a command, and measures it with everything that it starts.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bootwright_conformance::host;
use serde::Serialize;

use super::proc;

/// How often memory is looked at. The kernel keeps the peak of each process by itself, so only what a process gains in its
/// very last moment can be missed.
const LOOK: Duration = Duration::from_millis(5);

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Seconds on the clock, from start to end.
    pub wall: f64,
    /// Seconds of the processor, user and system, all processes together. In steps of 0.01.
    pub processor: f64,
    /// Bytes: the peaks of all processes that ran at one time, added up. 0 if it ended too early to be seen.
    pub peak: u64,
}

impl Measured {
    /// One after the other.
    fn then(self, next: Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            processor: self.processor + next.processor,
            peak: self.peak.max(next.peak),
        }
    }
}

/// Runs commands one after the other, and measures them as one. Nothing else may be started meanwhile by this program.
///
/// # Errors
/// When one does not succeed; the message has what it said.
pub fn measure(commands: &mut [Command]) -> Result<Measured> {
    settle()?;
    let mut all = Measured { wall: 0.0, processor: 0.0, peak: 0 };
    for command in commands {
        all = all.then(measure_one(command)?);
    }
    Ok(all)
}

/// What earlier runs left to be written would slow down this one.
fn settle() -> Result<()> {
    host::run(&mut host::command("sync")).map(drop)
}

fn measure_one(command: &mut Command) -> Result<Measured> {
    let shown = host::command_line(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before = proc::children_seconds();
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let watch = Watch::start(child.id());
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{shown}`"))?;
    let wall = start.elapsed().as_secs_f64();
    let peak = watch.finish();
    if !output.status.success() {
        bail!("`{shown}` ended with {}:\n{}", output.status, host::tail(&output.stderr, 20));
    }
    Ok(Measured { wall, processor: proc::children_seconds() - before, peak })
}

/// Watches the memory of a process tree.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn start(process: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let over = Arc::clone(&over);
            thread::spawn(move || watch(process, &over))
        };
        Self { over, thread }
    }

    fn finish(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(process: u32, over: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !over.load(Ordering::Relaxed) {
        let now: u64 = proc::tree(process).into_iter().filter_map(proc::peak_memory).sum();
        peak = peak.max(now);
        thread::sleep(LOOK);
    }
    peak
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
    fn the_processor_time_of_grandchildren_counts() {
        let busy = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; true";
        assert!(measure_one(&mut shell(busy)).unwrap().processor > 0.0);
    }

    #[test]
    fn the_memory_of_grandchildren_counts() {
        // The inner shell holds 20 MB of text; the outer one waits for it.
        let hungry = "sh -c 'x=$(head -c 20000000 /dev/zero | tr \"\\0\" a); sleep 0.2; :'; true";
        assert!(measure_one(&mut shell(hungry)).unwrap().peak > 20_000_000);
    }

    #[test]
    fn a_command_that_fails_is_no_measurement() {
        let error = measure_one(&mut shell("echo broken >&2; exit 1")).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[test]
    fn several_commands_add_up_but_the_peak_is_that_of_the_largest() {
        let one = Measured { wall: 1.0, processor: 0.5, peak: 10 };
        let two = Measured { wall: 2.0, processor: 0.25, peak: 7 };
        assert_eq!(one.then(two), Measured { wall: 3.0, processor: 0.75, peak: 10 });
    }
}
