//! Runs the suite: which case on which cell, in what order, and what came of it.

mod single;

pub use single::{prepare, run_case};
