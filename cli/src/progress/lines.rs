//! Progress as plain lines, for logs and pipes: few of them.

use std::{
    collections::HashMap,
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bootwright_core::model::{Progress, ProgressEvent};

use super::shorten;
use crate::disk::ByteSize;

/// At most one line about steps under way in this time.
const INTERVAL: Duration = Duration::from_secs(5);
/// Steps that take less time than this get a line at their end only if they moved this many bytes.
const WORTH_A_LINE: u64 = 1 << 20;

/// Writes lines.
pub struct Lines<W>(Mutex<State<W>>);

struct State<W> {
    out: W,
    steps: HashMap<String, Step>,
    last: Instant,
}

struct Step {
    what: String,
    total: Option<u64>,
    done: u64,
}

impl<W: Write> Lines<W> {
    /// To `out`.
    pub fn new(out: W) -> Self {
        Self(Mutex::new(State { out, steps: HashMap::new(), last: Instant::now() }))
    }
}

impl<W> fmt::Debug for Lines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl<W: Write> State<W> {
    /// A log that cannot be written must not stop an install.
    fn say(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.out, "{line}");
    }

    fn advanced(&mut self, id: &str, done: u64) {
        let due = self.last.elapsed() >= INTERVAL;
        let Some(step) = self.steps.get_mut(id) else { return };
        step.done = done;
        if due {
            let line = step.under_way();
            self.say(format_args!("{line}"));
            self.last = Instant::now();
        }
    }

    fn finished(&mut self, id: &str, skipped: bool) {
        let Some(step) = self.steps.remove(id) else { return };
        let size = ByteSize(step.total.unwrap_or(step.done));
        if skipped {
            self.say(format_args!("{}: there already", step.what));
        } else if size.0 >= WORTH_A_LINE {
            self.say(format_args!("{}: done, {size}", step.what));
        } else {
            self.say(format_args!("{}: done", step.what));
        }
    }
}

impl Step {
    fn under_way(&self) -> String {
        let done = ByteSize(self.done);
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = u128::from(self.done) * 100 / u128::from(total);
                format!("{}: {percent} % of {}", self.what, ByteSize(total))
            }
            None => format!("{}: {done}", self.what),
        }
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn report(&self, event: ProgressEvent) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Started { id, what, total } => {
                state.steps.insert(id, Step { what: shorten(&what), total, done: 0 });
            }
            ProgressEvent::Advanced { id, done } => state.advanced(&id, done),
            ProgressEvent::Finished { id, skipped } => state.finished(&id, skipped),
            ProgressEvent::Message(text) => state.say(format_args!("{}", shorten(&text))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(events: impl IntoIterator<Item = ProgressEvent>) -> Vec<String> {
        let lines = Lines::new(Vec::new());
        events.into_iter().for_each(|event| lines.report(event));
        let out = lines.0.into_inner().unwrap().out;
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn started(total: u64) -> ProgressEvent {
        ProgressEvent::Started { id: "a".into(), what: "layer a".into(), total: Some(total) }
    }

    #[test]
    fn a_thousand_events_in_no_time_are_one_line() {
        let advanced = (0..1000).map(|n| ProgressEvent::Advanced { id: "a".into(), done: n << 10 });
        let finished = ProgressEvent::Finished { id: "a".into(), skipped: false };
        let all = std::iter::once(started(5 << 20)).chain(advanced).chain([finished]);
        assert_eq!(lines_of(all), ["layer a: done, 5.0 MiB"]);
    }

    #[test]
    fn what_was_there_already_says_so() {
        let finished = ProgressEvent::Finished { id: "a".into(), skipped: true };
        assert_eq!(lines_of([started(5 << 20), finished]), ["layer a: there already"]);
    }

    #[test]
    fn events_about_unknown_steps_say_nothing() {
        assert!(lines_of([ProgressEvent::Advanced { id: "b".into(), done: 1 }]).is_empty());
    }
}
