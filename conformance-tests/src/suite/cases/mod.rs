//! The cases, by topic.
//!
//! A case is written as a delta: it asks the world what runs, and takes its versions from [`World::next_version`], so that it can
//! run on a machine with any history.

mod rollback;
pub mod steps;
mod upgrade;

use super::{Case, World};

/// Describes one case; the function takes `&mut dyn World`.
macro_rules! case {
    ($name:literal, $spec:expr, $demands:expr, $setting:ident, $run:path) => {
        $crate::suite::Case {
            name: $name,
            spec: &$spec,
            demands: &$demands,
            setting: $crate::suite::Setting::$setting,
            run: |world| Box::pin($run(world)),
        }
    };
}
pub(crate) use case;

/// Every case, in the order in which they run on a shared machine.
pub fn all_cases() -> Vec<Case> {
    [upgrade::CASES, rollback::CASES].concat()
}
