//! What a person watches: numbered steps with their times, something that moves, and a table at the end.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// The screen.
#[derive(Debug)]
pub struct Show {
    started: Instant,
    done: Vec<(String, Duration)>,
}

/// Prints a line of progress.
pub fn line(text: &str) {
    println!("       {text}");
}

impl Show {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { started: Instant::now(), done: Vec::new() }
    }

    /// Prints a line of progress.
    #[expect(clippy::unused_self, reason = "only who has the screen may print on it")]
    pub fn say(&self, text: &str) {
        line(text);
    }

    /// Prints what a program in the guest printed.
    pub fn quote(&self, text: &str) {
        for part in text.lines() {
            self.say(&format!("| {part}"));
        }
    }

    /// Runs a step, and remembers how long it took.
    ///
    /// # Errors
    /// The step's own, with its name.
    pub fn step<T>(&mut self, name: &str, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        println!("\n[{:>2}] {name}", self.done.len() + 1);
        let start = Instant::now();
        let result = work(self).with_context(|| format!("could not {name}"))?;
        let took = start.elapsed();
        self.say(&format!("done in {:.1} s", took.as_secs_f32()));
        self.done.push((name.to_owned(), took));
        Ok(result)
    }

    /// Runs something that shows nothing by itself, such as a boot, with a clock that moves.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn waiting<T>(&self, for_what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !std::io::stderr().is_terminal() {
            self.say(&format!("{for_what} …"));
            return work();
        }
        let spinner = ProgressBar::new_spinner().with_message(for_what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("       {spinner} {msg} ({elapsed})") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(120));
        let result = work();
        spinner.finish_and_clear();
        result
    }

    /// Prints the table.
    pub fn summary(&self) {
        println!("\nWhat happened:");
        for (number, (name, took)) in self.done.iter().enumerate() {
            println!("{:>4}. {:<72} {:>7.1} s", number + 1, name, took.as_secs_f32());
        }
        println!("      {:<72} {:>7.1} s", "all of it", self.started.elapsed().as_secs_f32());
    }
}
