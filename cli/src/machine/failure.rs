//! What keeps a boot on trial from proving good: asked of systemd, and noted on the physical root for the boot that comes after.

use std::path::Path;

use bootwright_core::{
    Result,
    engine::{Failure, FailureNote, StateStore, Trial, UNITS},
    fs::{Faults, Root},
    model::UnitName,
    process::Tool,
};

use super::running::make_writable;

/// What a good boot reaches (systemd.special(7)).
const GOAL: &str = "boot-complete.target";

/// Finds out what failed, notes it durably and returns it; if nothing did, a note of an earlier boot stays.
///
/// The calling thread must be in a mount namespace of its own ([`super::namespace::enter`]).
///
/// # Errors
/// As systemd does not answer, or as writing fails.
pub fn note(sysroot: &Path, trial: Trial) -> Result<Failure> {
    let failure = ask()?;
    if !failure.is_empty() {
        make_writable(sysroot)?;
        let state = StateStore::new(Root::open(sysroot, Faults::none())?);
        state.note_failure(&FailureNote { trial, failure: failure.clone() })?;
    }
    Ok(failure)
}

fn ask() -> Result<Failure> {
    // Not to know it costs order and selection, not the names.
    let required = systemctl(&["show", "--property=Requires", "--value", GOAL]).unwrap_or_default();
    let units = systemctl(&["list-units", "--state=failed,activating"])?;
    let jobs = systemctl(&["list-jobs"])?;
    Ok(judge(&required, &units, &jobs))
}

fn systemctl(args: &[&str]) -> Result<String> {
    let plain = ["--plain", "--no-legend", "--no-pager", "--full"];
    let tool = Tool::new("systemctl").package("systemd").args(args.iter().chain(&plain).copied());
    Ok(tool.run_blocking()?.text())
}

/// By what `boot-complete.target` requires, the lines of `systemctl list-units` (unit, load state, active state) and those of `systemctl list-jobs` (number,
/// unit, type, state).
///
/// What is required comes first, as others may fail on a good system, too. If one of those failed, it is not the time that ran out, and what is
/// still starting has nothing to do with it.
fn judge(required: &str, units: &str, jobs: &str) -> Failure {
    let required: Vec<_> = names(required).collect();
    let first = |units: &mut Vec<UnitName>| units.sort_by_key(|unit| !required.contains(unit));
    let mut failed = in_state(units, "failed");
    first(&mut failed);
    if failed.first().is_some_and(|unit| required.contains(unit)) {
        return Failure::new(failed, []);
    }
    let mut unfinished = in_state(units, "activating");
    let starting =
        jobs.lines().filter_map(starting).filter(|unit| !unfinished.contains(unit)).collect::<Vec<_>>();
    unfinished.extend(starting);
    unfinished.retain(|unit| UNITS.iter().all(|(own, _)| *own != unit.as_str()));
    first(&mut unfinished);
    Failure::new(failed, unfinished)
}

fn names(text: &str) -> impl Iterator<Item = UnitName> {
    text.split_whitespace().filter_map(|word| UnitName::new(word).ok())
}

/// Some versions of systemd put a mark before the name.
fn in_state(units: &str, state: &str) -> Vec<UnitName> {
    let unit = |line: &str| {
        let name = names(line).next()?;
        let mut after = line.split_whitespace().skip_while(|word| *word != name.as_str()).skip(2);
        (after.next() == Some(state)).then_some(name)
    };
    units.lines().filter_map(unit).collect()
}

/// A unit whose start is under way: devices that are waited for, too, which are in no other state than before. What merely waits for others is not to blame.
fn starting(job: &str) -> Option<UnitName> {
    let mut fields = job.split_whitespace().skip(1);
    let name = fields.next()?;
    let runs = fields.next() == Some("start") && fields.next() == Some("running");
    UnitName::new(name).ok().filter(|_| runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: &str = "sysinit.target suite-check.service\n";

    fn told(units: &str, jobs: &str) -> String {
        judge(REQUIRED, units, jobs).to_string()
    }

    /// spec: BW-134
    #[test]
    fn a_failed_check_is_named_before_what_else_failed_and_without_what_is_still_starting() {
        let units = "a-printer.service loaded failed failed Printer\n\
            slow.service loaded activating start Slow\n\
            suite-check.service loaded failed failed A health check\n";
        let jobs = "9 slow.service start running\n12 bootwright-unhealthy.service start running\n";
        assert_eq!(told(units, jobs), "suite-check.service and a-printer.service failed");
    }

    /// spec: BW-134
    #[test]
    fn what_never_ends_is_named_without_what_waits_for_it_and_without_our_own_units() {
        let units = "suite-check.service loaded activating start A health check\n\
            bootwright-unhealthy.service loaded activating start Leave\n";
        let jobs = "3 suite-check.service start running\n4 boot-complete.target start waiting\n\
            5 dev-disk-by\\x2duuid-1.device start running\n6 old.service stop running\n\
            12 bootwright-unhealthy.service start running\n";
        assert_eq!(
            told(units, jobs),
            "suite-check.service and dev-disk-by\\x2duuid-1.device did not finish starting"
        );
    }

    #[test]
    fn a_mark_before_a_name_and_what_is_no_name_are_passed_over() {
        let units = "\u{25cf} mnt.mount loaded failed failed /mnt\n\u{1b}[2J loaded failed failed x\n\n0 loaded units listed.\n";
        assert_eq!(told(units, "No jobs running.\n"), "mnt.mount failed");
        assert!(judge("", "", "").is_empty());
    }
}
