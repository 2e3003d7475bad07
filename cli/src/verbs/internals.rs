//! What systemd units call.

use std::{path::Path, sync::mpsc, thread, time::Duration};

use bootwright_core::{Result, engine::Trial};

use super::{Context, block_on, print, system};
use crate::{
    args::InternalsCommand,
    machine::{Access, failure, restart::leads_to_the_loader},
};

/// How long a note of what failed may take. On a machine whose disk or systemd does not answer, the reboot matters more.
const NOTING: Duration = Duration::from_secs(30);

/// Runs it. `false`, so that the unit fails, if the last shutdown did not finalise.
pub fn run(context: &Context<'_>, command: InternalsCommand) -> Result<bool> {
    match command {
        InternalsCommand::Finalize => finalize(context),
        InternalsCommand::TryAgain => try_again(context),
        InternalsCommand::Confirm => confirm(context),
        InternalsCommand::Unhealthy => unhealthy(context),
        InternalsCommand::CheckFinalized => check_finalized(context),
    }
}

fn finalize(context: &Context<'_>) -> Result<bool> {
    let system = system::require(context, Access::Write)?;
    // If what is published does not boot next, what changes in /etc until then is lost.
    let on_the_way = if system::is_running(context) { leads_to_the_loader() } else { Ok(()) };
    if let Err(instead) = on_the_way {
        print(&format!("{instead}: what is staged waits for the next shutdown"));
        return Ok(true);
    }
    match block_on(system.engine.finalize_staged())? {
        Some(deployment) => print(&format!("deployment {deployment} boots next")),
        None => print("nothing is staged"),
    }
    Ok(true)
}

fn try_again(context: &Context<'_>) -> Result<bool> {
    let system = system::require(context, Access::Write)?;
    if block_on(system.engine.try_again())? {
        print("a new deployment is on trial, and has tries left: the machine reboots to start it");
        super::reboot()?;
    }
    Ok(true)
}

fn confirm(context: &Context<'_>) -> Result<bool> {
    let system = system::require(context, Access::Write)?;
    if let Some(missed) = block_on(system.engine.confirm_boot())? {
        print(&format!("deployment {} is still staged: the last shutdown did not finish", missed.deployment));
    }
    Ok(true)
}

/// A deployment that proved good before is left running: a reboot would lead to the same one again.
fn unhealthy(context: &Context<'_>) -> Result<bool> {
    let trial = block_on(system::require(context, Access::Read)?.engine.observe())?.trial();
    let Some(trial) = trial else {
        print("this boot did not prove good, but the deployment did earlier: it goes on");
        return Ok(true);
    };
    note_failure(context.settings.sysroot, trial);
    print("the new deployment did not prove good: the machine reboots, and falls back when no try is left");
    super::reboot()?;
    Ok(true)
}

/// For `status` after the fallback. Whatever happens in here, the machine reboots: a thread that hangs is left behind.
fn note_failure(sysroot: &'static str, trial: Trial) {
    let (told, answer) = mpsc::channel();
    let noting = move || drop(told.send(failure::note(Path::new(sysroot), trial)));
    if let Err(error) = thread::Builder::new().spawn(noting) {
        tracing::warn!(%error, "what failed is not noted");
        return;
    }
    match answer.recv_timeout(NOTING) {
        Ok(Ok(failure)) if failure.is_empty() => print("systemd names no unit that failed"),
        Ok(Ok(failure)) => print(&format!("{failure}: noted for `status`")),
        Ok(Err(error)) => tracing::warn!(%error, "what failed is not noted"),
        Err(_) => tracing::warn!("what failed is not noted: that takes too long"),
    }
}

fn check_finalized(context: &Context<'_>) -> Result<bool> {
    let system = system::require(context, Access::Read)?;
    let missed = block_on(system.engine.status())?.finalization_missed;
    if missed {
        print("a staged deployment should boot by now, but the last shutdown did not finish");
    }
    Ok(!missed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bootwright_core::{
        efi::{OUR_VENDOR, TRIAL},
        engine::UNITS,
    };

    #[test]
    fn images_are_asked_for_the_units_that_there_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), UNITS.len());
        for (unit, target) in UNITS {
            let text = std::fs::read_to_string(folder.join(unit)).unwrap();
            let wanted = text.lines().find_map(|line| line.strip_prefix("WantedBy="));
            assert_eq!(wanted, Some(target), "{unit}");
        }
    }

    #[test]
    fn the_unit_that_tries_again_waits_for_the_variable_that_notes_a_trial() {
        let unit = include_str!("../../systemd/bootwright-try-again.service");
        let condition = format!("ConditionPathExists=/sys/firmware/efi/efivars/{TRIAL}-{OUR_VENDOR}");
        assert!(unit.lines().any(|line| line == condition), "{condition} is not in\n{unit}");
    }
}
