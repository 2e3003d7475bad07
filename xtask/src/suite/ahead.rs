//! Builds beside the first steps what later ones need.
//!
//! Every build ends with crates that wait for each other, and many tests wait for a disk: one of two processors has nothing to do then. What
//! is built here goes to profiles and folders of its own, so that nobody waits for cargo's lock.

use std::{
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use bootwright_conformance::host;

use super::{images, programs};
use crate::{conformance, fuzz, workspace::Workspace};

/// Builds for steps to come, one after the other.
#[derive(Debug)]
pub struct Ahead(JoinHandle<()>);

impl Ahead {
    /// Starts them, and then images for virtual machines. What fails is silent: the step that needs it makes it again, and tells.
    pub fn start(workspace: &Workspace, machines: bool) -> Self {
        let builds = builds(workspace);
        Self(thread::spawn(move || {
            for mut build in builds {
                let _ = build.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
            if machines && host::is_root() {
                let _ = images::make(|_| {});
            }
        }))
    }

    /// Waits for the last one.
    pub fn join(self) {
        let _ = self.0.join();
    }
}

/// In the order in which steps need them.
fn builds(workspace: &Workspace) -> Vec<Command> {
    let mut builds = vec![conformance::build(workspace)];
    builds.extend(programs::build(workspace));
    builds.extend(fuzz::build_command(workspace));
    builds
}
