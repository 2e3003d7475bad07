//! A case: a sentence that must be true, and the steps that try it.

use std::{future::Future, pin::Pin, time::Duration};

use super::{Demand, Missing, World};

/// What a case returns: nothing, or what was seen instead of what must be.
pub type CaseResult = anyhow::Result<()>;

/// A running case.
pub type CaseFuture<'a> = Pin<Box<dyn Future<Output = CaseResult> + Send + 'a>>;

/// From which machine a case starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    /// A machine that runs some version of a good image, whose boot was confirmed, with nothing staged and nothing damaged. It may have
    /// any history; the case leaves such a machine behind (a runner that shares machines makes a new one after a failure).
    Running,
    /// An empty disk of its own, on which nothing was installed yet.
    Blank,
    /// A machine of its own as for `Running`, that nobody uses afterwards: the case damages it.
    Own,
}

/// One statement about a pair of plugins.
#[derive(Clone, Copy)]
pub struct Case {
    /// `topic::what_must_be`.
    pub name: &'static str,
    /// Numbers in `docs/spec.md` that it tries to break.
    pub spec: &'static [&'static str],
    /// What it needs.
    pub demands: &'static [Demand],
    /// From which machine it starts.
    pub setting: Setting,
    /// The steps.
    pub run: for<'a> fn(&'a mut dyn World) -> CaseFuture<'a>,
}

impl Case {
    /// The first demand that `world` does not meet.
    pub fn missing(&self, world: &dyn World) -> Option<Missing> {
        self.demands.iter().find_map(|demand| world.demand(demand).err())
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed {
        /// How long it took.
        took: Duration,
    },
    /// It does not hold, or the fixture is broken.
    Failed {
        /// How long it took.
        took: Duration,
        /// What was seen instead.
        why: String,
    },
    /// It was not tried.
    Ignored {
        /// What is missing.
        missing: Missing,
    },
}
