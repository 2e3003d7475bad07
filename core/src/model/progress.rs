//! Progress, as plugins report it: a stream of plain events that a command line draws.

use std::fmt::Debug;

/// Something moved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A long step begins. `id` is unique within the operation.
    Started {
        /// Names the step in later events (a layer's digest, "objects").
        id: String,
        /// For people: what it does ("layer 1a2b3c").
        what: String,
        /// Total in bytes, if known.
        total: Option<u64>,
    },
    /// So many bytes of the step are done.
    Advanced {
        /// Which step.
        id: String,
        /// Bytes done so far, not since the last event.
        done: u64,
    },
    /// The step is over.
    Finished {
        /// Which step.
        id: String,
        /// Whether there was nothing to do, because the store had it already.
        skipped: bool,
    },
    /// A line for people.
    Message(String),
}

/// Where progress goes. Called from any thread; must not block for long.
pub trait Progress: Debug + Send + Sync {
    /// Takes one event.
    fn report(&self, event: ProgressEvent);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _event: ProgressEvent) {}
}
