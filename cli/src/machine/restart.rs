//! What comes after the shutdown that is under way.

use std::fmt;

use bootwright_core::process::Tool;

/// Targets of restarts in which neither firmware nor bootloader get their turn (systemd.special(7)): user space starts anew on the kernel that runs, or
/// that kernel starts another one.
const PAST_THE_LOADER: [&str; 2] = ["soft-reboot.target", "kexec.target"];
/// What every shutdown starts.
const SHUTDOWN: &str = "shutdown.target";

/// Why what is published now would not boot next, or not for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {
    /// The system runs on: somebody stopped or restarted a unit.
    RunsOn,
    /// The shutdown leads to this target, and so to no bootloader.
    PastTheLoader(&'static str),
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsOn => f.write_str("the system runs on"),
            Self::PastTheLoader(target) => write!(f, "{target} starts no deployment"),
        }
    }
}

/// Whether the machine is on its way to firmware and bootloader. Where systemd does not tell, it is taken to be.
///
/// # Errors
/// What it does instead.
pub fn leads_to_the_loader() -> Result<(), NotYet> {
    let tool = Tool::new("systemctl").args(["list-jobs", "--plain", "--no-legend", "--no-pager"]);
    match tool.run_blocking() {
        Ok(output) => judge(&output.text()),
        Err(error) => {
            tracing::warn!(%error, "systemd does not say what this shutdown leads to");
            Ok(())
        }
    }
}

/// By the lines of `systemctl list-jobs`: number, unit, type, state.
fn judge(jobs: &str) -> Result<(), NotYet> {
    let starts = |target: &str| {
        jobs.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next() == Some(target) && fields.next() == Some("start")
        })
    };
    match PAST_THE_LOADER.into_iter().find(|target| starts(target)) {
        Some(target) => Err(NotYet::PastTheLoader(target)),
        None if starts(SHUTDOWN) => Ok(()),
        None => Err(NotYet::RunsOn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(target: &str) -> String {
        format!(
            "12 bootwright-finalize.service stop running\n98 {target} start waiting\n99 shutdown.target start waiting\n"
        )
    }

    #[test]
    fn a_soft_reboot_and_a_kexec_pass_the_loader_by_and_a_reboot_does_not() {
        for target in ["soft-reboot.target", "kexec.target"] {
            assert_eq!(judge(&jobs(target)), Err(NotYet::PastTheLoader(target)));
        }
        for target in ["reboot.target", "poweroff.target", "my-kexec.target"] {
            assert_eq!(judge(&jobs(target)), Ok(()));
        }
    }

    #[test]
    fn a_unit_that_is_stopped_while_the_system_runs_is_no_shutdown() {
        assert_eq!(judge("12 bootwright-finalize.service restart running\n"), Err(NotYet::RunsOn));
        assert_eq!(judge("98 shutdown.target stop waiting\nNo jobs running.\n"), Err(NotYet::RunsOn));
        assert_eq!(judge(""), Err(NotYet::RunsOn));
    }
}
