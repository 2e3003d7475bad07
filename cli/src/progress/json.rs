//! Progress as JSON lines, in the protocol that bootc documents for `--progress-fd` (version 0.1.0): a `Start` line, then
//! `ProgressBytes` lines. Consumers must expect keys and types that they do not know.

use std::{
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bootwright_core::model::{Progress, ProgressEvent};
use serde::Serialize;

const VERSION: &str = "0.1.0";
/// Lines that a later one supersedes are written at most this often; beginnings and ends always.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum Line<'a> {
    Start {
        version: &'a str,
    },
    ProgressBytes {
        task: &'a str,
        description: &'a str,
        id: &'a str,
        bytes_cached: u64,
        bytes: u64,
        bytes_total: u64,
        steps_cached: u64,
        steps: u64,
        steps_total: u64,
        subtasks: Vec<SubTask<'a>>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubTask<'a> {
    subtask: &'a str,
    description: &'a str,
    id: &'a str,
    bytes_cached: u64,
    bytes: u64,
    bytes_total: u64,
}

struct Step {
    id: String,
    what: String,
    total: u64,
    done: u64,
    state: StepState,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum StepState {
    UnderWay,
    Done,
    Skipped,
}

/// Writes the lines.
pub struct JsonLines<W>(Mutex<State<W>>);

struct State<W> {
    out: W,
    steps: Vec<Step>,
    last: Option<Instant>,
    broken: bool,
}

impl<W: Write> JsonLines<W> {
    /// To `out`; the first line is written at once.
    pub fn new(out: W) -> Self {
        let mut state = State { out, steps: Vec::new(), last: None, broken: false };
        state.write(|_| Line::Start { version: VERSION });
        Self(Mutex::new(state))
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").finish_non_exhaustive()
    }
}

impl<W: Write> State<W> {
    /// A reader that went away must not stop an install: nothing more is written then.
    fn write<'a>(&'a mut self, line: impl FnOnce(&'a [Step]) -> Line<'a>) {
        if self.broken {
            return;
        }
        let Ok(mut text) = serde_json::to_vec(&line(&self.steps)) else { return };
        text.push(b'\n');
        self.broken = self.out.write_all(&text).and_then(|()| self.out.flush()).is_err();
    }

    fn step(&mut self, id: &str) -> Option<&mut Step> {
        self.steps.iter_mut().rev().find(|step| step.id == id)
    }

    fn write_progress(&mut self, required: bool) {
        if !required && self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        self.write(progress_line);
    }
}

fn progress_line(steps: &[Step]) -> Line<'_> {
    let sum = |value: fn(&Step) -> u64| steps.iter().map(value).sum();
    let count = |state| steps.iter().filter(|step| step.state == state).count() as u64;
    let under_way = steps.iter().filter(|step| step.state == StepState::UnderWay);
    Line::ProgressBytes {
        task: "pulling",
        description: "Pulling Image",
        id: "image",
        bytes_cached: sum(|step| if step.state == StepState::Skipped { step.total } else { 0 }),
        bytes: sum(|step| if step.state == StepState::Skipped { 0 } else { step.done }),
        bytes_total: sum(|step| step.total),
        steps_cached: count(StepState::Skipped),
        steps: count(StepState::Done),
        steps_total: steps.len() as u64,
        subtasks: under_way.map(subtask).collect(),
    }
}

fn subtask(step: &Step) -> SubTask<'_> {
    SubTask {
        subtask: "step",
        description: &step.what,
        id: &step.id,
        bytes_cached: 0,
        bytes: step.done,
        bytes_total: step.total,
    }
}

impl<W: Write + Send> Progress for JsonLines<W> {
    fn report(&self, event: ProgressEvent) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Started { id, what, total } => {
                let step = Step { id, what, total: total.unwrap_or(0), done: 0, state: StepState::UnderWay };
                state.steps.push(step);
                state.write_progress(true);
            }
            ProgressEvent::Advanced { id, done } => {
                if let Some(step) = state.step(&id) {
                    step.done = done;
                }
                state.write_progress(false);
            }
            ProgressEvent::Finished { id, skipped } => {
                if let Some(step) = state.step(&id) {
                    step.state = if skipped { StepState::Skipped } else { StepState::Done };
                    step.done = step.done.max(step.total);
                }
                state.write_progress(true);
            }
            // The protocol has no lines for people.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines_of(events: impl IntoIterator<Item = ProgressEvent>) -> Vec<Value> {
        let lines = JsonLines::new(Vec::new());
        events.into_iter().for_each(|event| lines.report(event));
        let out = String::from_utf8(lines.0.into_inner().unwrap().out).unwrap();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn started(id: &str) -> ProgressEvent {
        ProgressEvent::Started { id: id.into(), what: format!("layer {id}"), total: Some(10) }
    }

    #[test]
    fn the_first_line_names_the_version() {
        assert_eq!(lines_of([]), [json!({"type": "Start", "version": "0.1.0"})]);
    }

    /// spec: BW-805
    #[test]
    fn bytes_and_steps_add_up_over_all_steps() {
        let finished = |id: &str, skipped| ProgressEvent::Finished { id: id.into(), skipped };
        let events = [started("a"), started("b"), started("c"), finished("a", false), finished("b", true)];
        let last = lines_of(events).pop().unwrap();
        assert_eq!(
            last,
            json!({
                "type": "ProgressBytes", "task": "pulling", "description": "Pulling Image", "id": "image",
                "bytesCached": 10, "bytes": 10, "bytesTotal": 30, "stepsCached": 1, "steps": 1, "stepsTotal": 3,
                "subtasks": [{
                    "subtask": "step", "description": "layer c", "id": "c",
                    "bytesCached": 0, "bytes": 0, "bytesTotal": 10
                }]
            })
        );
    }

    /// spec: BW-805
    #[test]
    fn a_thousand_events_in_no_time_are_few_lines() {
        let advanced = (0..1000).map(|done| ProgressEvent::Advanced { id: "a".into(), done });
        assert!(lines_of(std::iter::once(started("a")).chain(advanced)).len() < 20);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        JsonLines::new(Gone).report(started("a"));
    }
}
