//! The cases, by topic.
//!
//! A case is written as a delta: it asks the world what runs, and takes its versions from [`World::next_version`], so that it can
//! run on a machine with any history.

mod boot;
mod broken;
mod crash;
mod deployments;
mod disks;
mod etc_merge;
mod faults;
mod firmware;
mod foreign;
mod hostile;
mod install;
mod integrity;
mod kernel;
mod killed;
mod life;
mod policy;
mod rollback;
mod scene;
mod space;
mod staging;
pub mod steps;
mod switch;
mod trial;
mod unsupported;
mod upgrade;
mod var;

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
    [
        install::CASES,
        disks::CASES,
        life::CASES,
        boot::CASES,
        upgrade::CASES,
        staging::CASES,
        etc_merge::CASES,
        var::CASES,
        rollback::CASES,
        switch::CASES,
        policy::CASES,
        deployments::CASES,
        kernel::CASES,
        trial::CASES,
        broken::CASES,
        foreign::CASES,
        space::CASES,
        unsupported::CASES,
        unsupported::images::CASES,
        hostile::CASES,
        integrity::CASES,
        crash::CASES,
        faults::CASES,
        firmware::CASES,
        killed::CASES,
    ]
    .concat()
}
