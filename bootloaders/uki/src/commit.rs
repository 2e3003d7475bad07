//! The switch.

use bootwright_core::{
    Effect, Error, Result, boot_files::removable_path, context::BootContext, efi::EfiVariables,
    fs::ReplaceStyle,
};

use crate::{
    firmware::{Firmware, OurOption},
    names::UkiName,
    stage::{Switch, Token},
    trial::{Note, Tries},
};

/// Makes the staged plan the one that boots.
///
/// # Crash
/// One write decides: that of `BootOrder` (or, where an armed trial is withdrawn, the deletion of `BootNext`, where one that waits is, that of its note;
/// for a trial, the write of `BootNext`, or of its note if it has to wait), or the rename over the removable-media path.
pub fn commit(context: &BootContext, token: &Token) -> Result<()> {
    let esp = &context.esp;
    match &token.switch {
        Switch::Firmware { trial } => by_firmware(context, token, *trial),
        Switch::NotesOnly(notes) => notes.store(esp),
        Switch::Removable(temporary) => {
            let happened = |error: Error| {
                let effect = if esp.exists(temporary) { Effect::None } else { Effect::Committed };
                error.with_effect(effect)
            };
            esp.move_into_place(temporary, &removable_path(), ReplaceStyle::Durable).map_err(happened)
        }
    }
}

fn by_firmware(context: &BootContext, token: &Token, trial: Option<Tries>) -> Result<()> {
    let efi = &*context.efi;
    let mut firmware = Firmware::load(context)?;
    let Some(((default, title), others)) = token.lines.split_first() else {
        return Err(Error::internal("a boot plan without a default entry"));
    };
    let present =
        firmware.option_for(default).filter(|number| !(trial.is_some() && firmware.order.contains(number)));
    let number = firmware.write_option(context, present, option(default, title, token.generation))?;
    if let Some(tries) = trial {
        return arm(&mut firmware, efi, number, token.generation, tries);
    }
    let mut numbers = vec![number];
    for (name, title) in others {
        numbers.push(ensure(context, &mut firmware, name, title, token.generation)?);
    }
    let order = firmware.order_with(&numbers);
    firmware.write_order(efi, order)?;
    let next = token.one_shot.as_ref().and_then(|name| firmware.option_for(name));
    firmware
        .write_next(efi, next)
        .and_then(|()| firmware.forget_trial(efi))
        .map_err(|error| error.with_effect(Effect::Partial))
}

/// Names a trial's option in `BootNext`; if somebody asked there for another system, the trial waits.
fn arm(
    firmware: &mut Firmware,
    efi: &dyn EfiVariables,
    number: u16,
    generation: u64,
    tries: Tries,
) -> Result<()> {
    if tries.done == 0 && firmware.is_promised_to_others() {
        return firmware.note_trial(efi, Note::waiting(number, generation, tries.left));
    }
    firmware.write_next(efi, Some(number))?;
    let noted = firmware.note_trial(efi, Note::new(number, generation, tries));
    noted.map_err(|error| error.with_effect(Effect::Committed))
}

/// The number of an option for `name`, which is written if there is none.
pub fn ensure(
    context: &BootContext,
    firmware: &mut Firmware,
    name: &UkiName,
    title: &str,
    generation: u64,
) -> Result<u16> {
    match firmware.option_for(name) {
        Some(number) if firmware.ours.get(&number).is_some_and(|option| option.active) => Ok(number),
        number => firmware.write_option(context, number, option(name, title, generation)),
    }
}

fn option(name: &UkiName, title: &str, generation: u64) -> OurOption {
    OurOption { name: name.clone(), generation, title: title.to_owned(), active: true }
}
