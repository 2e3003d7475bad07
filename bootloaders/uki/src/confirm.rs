//! A trial that proved good becomes the default.

use bootwright_core::{Result, context::BootContext, model::DeploymentId};

use crate::{
    commit::ensure,
    firmware::Firmware,
    names::UkiName,
    removable::refresh,
    seen::{Listed, Seen},
    state::describe,
    trial::{Note, try_again},
};

/// Puts the option of a trial in front of `BootOrder`, and refreshes the removable-media copy.
///
/// # Crash
/// Before the write of `BootOrder` the trial is unconfirmed, after it confirmed; the copy is the old or the new one.
pub fn confirm(context: &BootContext, deployment: &DeploymentId) -> Result<()> {
    let seen = Seen::load(context)?;
    let of_this = |listed: &Listed| &listed.name.deployment == deployment;
    let tried = seen.spent().filter(of_this).or_else(|| seen.armed().filter(of_this));
    match (tried, &seen.firmware) {
        (Some(listed), _) => promote(context, &seen, &listed)?,
        // A power cut right after a promotion leaves its note, and early boot would look at it each time.
        (None, Some(firmware)) if firmware.has_stale_note() => {
            Firmware::load(context)?.forget_trial(&*context.efi)?;
        }
        // Early boot of this image does not do it: then the next restart leads there.
        (None, Some(firmware)) if firmware.next.is_none() && firmware.trial().is_some_and(Note::waits) => {
            try_again(context)?;
        }
        (None, _) => {}
    }
    let seen = Seen::load(context)?;
    match seen.base.first() {
        Some(default) if seen.by_order && &default.name.deployment == deployment => {
            refresh(&context.esp, &seen.notes, &default.name)
        }
        _ => Ok(()),
    }
}

/// What follows in the plan of the trial, then what booted before and is not in that plan.
fn ways_back(context: &BootContext, seen: &Seen, tried: &Listed) -> Vec<UkiName> {
    let mut names = seen.behind_trial(&context.esp);
    for listed in seen.base.iter().filter(|listed| listed.problem.is_none()) {
        let known = |name: &UkiName| name.deployment == listed.name.deployment;
        if !known(&tried.name) && !names.iter().any(known) {
            names.push(listed.name.clone());
        }
    }
    names
}

fn promote(context: &BootContext, seen: &Seen, tried: &Listed) -> Result<()> {
    let efi = &*context.efi;
    let mut firmware = Firmware::load(context)?;
    let mut numbers: Vec<u16> = tried.number.into_iter().collect();
    // What booted by the removable-media path so far has no option yet, and is the way back from now on.
    for name in ways_back(context, seen, tried) {
        let (title, _) = describe(&context.esp, seen, &name);
        numbers.push(ensure(context, &mut firmware, &name, &title, seen.generation().saturating_sub(1))?);
    }
    let order = firmware.order_with(&numbers);
    firmware.write_order(efi, order)?;
    // Only an armed trial that is confirmed before it ran leaves its `BootNext` behind.
    if firmware.next == tried.number {
        firmware.write_next(efi, None)?;
    }
    firmware.forget_trial(efi)
}
