//! The firmware's boot options, as far as they concern us.

use std::collections::{BTreeMap, BTreeSet};

use bootwright_core::{
    Error, Result,
    context::BootContext,
    efi::{
        EfiVariables, GLOBAL_VENDOR, OUR_VENDOR, TRIAL,
        load_option::{
            ACTIVE, LoadOption, numbers_to_bytes, parse_numbers, parse_variable_name, variable_name,
        },
    },
};

use crate::{
    names::UkiName,
    trial::{Note, Tries},
};

const ORDER: &str = "BootOrder";
const NEXT: &str = "BootNext";
/// Firmware menus cut long lines; some firmware stops at 128 characters.
const TITLE_LIMIT: usize = 80;

/// Whether there is a firmware to write to, and a name for our partition that it understands.
pub fn usable(context: &BootContext) -> bool {
    context.efi.available() && context.esp_partition.is_some()
}

/// One of our boot options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurOption {
    /// What it starts.
    pub name: UkiName,
    /// The plan that wrote it; 0 if somebody changed its description.
    pub generation: u64,
    /// Title in its description.
    pub title: String,
    /// Whether the firmware takes it into account.
    pub active: bool,
}

/// The variables, read once.
#[derive(Debug, Default)]
pub struct Firmware {
    /// `BootOrder`.
    pub order: Vec<u16>,
    /// `BootNext`.
    pub next: Option<u16>,
    /// `BootCurrent`: what this boot was started by.
    pub current: Option<u16>,
    /// Our options.
    pub ours: BTreeMap<u16, OurOption>,
    /// Options of others, with their descriptions.
    pub foreign: BTreeMap<u16, String>,
    trial: Option<Note>,
}

impl Firmware {
    /// Reads all boot options; garbage is somebody else's.
    ///
    /// # Errors
    /// `Io` if the variables cannot be listed.
    pub fn load(context: &BootContext) -> Result<Self> {
        let efi = &*context.efi;
        let numbers = |name| efi.read(GLOBAL_VENDOR, name).map(|v| parse_numbers(&v.unwrap_or_default()));
        let mut firmware = Self {
            order: numbers(ORDER)?,
            next: numbers(NEXT)?.first().copied(),
            current: numbers("BootCurrent")?.first().copied(),
            trial: efi.read(OUR_VENDOR, TRIAL)?.as_deref().and_then(Note::parse),
            ..Self::default()
        };
        for number in efi.list(GLOBAL_VENDOR)?.iter().filter_map(|name| parse_variable_name(name)) {
            // One that the firmware lists but does not give out is somebody else's, and its number stays taken.
            let bytes = efi.read(GLOBAL_VENDOR, &variable_name(number)).ok().flatten().unwrap_or_default();
            let option = LoadOption::parse(&bytes);
            if let Some(ours) = option.as_ref().ok().and_then(|option| our_option(context, option)) {
                firmware.ours.insert(number, ours);
            } else {
                let description = option.map(|option| option.description).unwrap_or_default();
                firmware.foreign.insert(number, description);
            }
        }
        Ok(firmware)
    }

    /// Numbers of our options in `BootOrder`, in order, once each.
    pub fn ours_in_order(&self) -> Vec<u16> {
        let mut seen = BTreeSet::new();
        self.order.iter().copied().filter(|n| self.ours.contains_key(n) && seen.insert(*n)).collect()
    }

    /// `BootOrder` with our options replaced by `ours` in front; those of others stay, in their order.
    pub fn order_with(&self, ours: &[u16]) -> Vec<u16> {
        let foreign =
            self.order.iter().filter(|number| !self.ours.contains_key(number) && !ours.contains(number));
        ours.iter().chain(foreign).copied().collect()
    }

    /// The option that is to be tried at the next boot: named by `BootNext`, and not in `BootOrder`; or what waits for that.
    pub fn armed_trial(&self) -> Option<(u16, Tries)> {
        let named = self.next.filter(|number| self.is_outside_order(*number));
        let waiting = || self.trial().filter(|note| note.waits()).map(|note| note.number);
        let number = named.or_else(waiting)?;
        Some((number, self.note_on(number).armed()))
    }

    /// Whether `BootNext` asks for something that is not ours.
    pub fn is_promised_to_others(&self) -> bool {
        self.next.is_some_and(|next| !self.ours.contains_key(&next))
    }

    /// The option that is being tried now and not armed again, or that was tried and did not prove good: one that was left by the firmware, and not
    /// armed again early in the boot after it, has no tries left, whatever was noted.
    pub fn spent_trial(&self) -> Option<(u16, Tries)> {
        let spent = |number: &u16| self.is_outside_order(*number) && self.next != Some(*number);
        if let Some(running) = self.current.filter(spent) {
            return Some((running, self.note_on(running).running()));
        }
        let note = self.trial().filter(|note| spent(&note.number) && !note.waits())?;
        Some((note.number, note.lost()))
    }

    /// The note on the trial that is open; one on an option that was replaced since, or that proved good, says nothing.
    pub fn trial(&self) -> Option<Note> {
        let current = |note: &Note| {
            let option = self.ours.get(&note.number);
            option.is_some_and(|option| option.generation == note.generation)
                && self.is_outside_order(note.number)
        };
        self.trial.filter(current)
    }

    /// Whether there is a note, and no open trial that it is on.
    pub fn has_stale_note(&self) -> bool {
        self.trial.is_some() && self.trial().is_none()
    }

    /// Without a note, power was cut between arming and writing it: there is one try.
    fn note_on(&self, number: u16) -> Note {
        self.trial()
            .filter(|note| note.number == number)
            .unwrap_or_else(|| Note::new(number, 0, Tries { left: 1, done: 0 }))
    }

    fn is_outside_order(&self, number: u16) -> bool {
        self.ours.contains_key(&number) && !self.order.contains(&number)
    }

    /// An existing option for this UKI, preferably one in `BootOrder`.
    pub fn option_for(&self, name: &UkiName) -> Option<u16> {
        let numbers =
            || self.ours.iter().filter(|(_, option)| &option.name == name).map(|(number, _)| *number);
        numbers().find(|number| self.order.contains(number)).or_else(|| numbers().next())
    }

    fn free_number(&self) -> Result<u16> {
        let taken = |number: &u16| {
            self.ours.contains_key(number)
                || self.foreign.contains_key(number)
                || self.order.contains(number)
                || self.next == Some(*number)
                || self.current == Some(*number)
        };
        (0..=u16::MAX)
            .find(|number| !taken(number))
            .ok_or_else(|| Error::invalid("the firmware has no free boot option"))
    }

    /// Writes an option for `name` and returns its number: `number` if given, else a free one.
    ///
    /// # Errors
    /// As the firmware says.
    pub fn write_option(
        &mut self,
        context: &BootContext,
        number: Option<u16>,
        option: OurOption,
    ) -> Result<u16> {
        let partition =
            context.esp_partition.ok_or_else(|| Error::internal("the ESP's partition is not known"))?;
        let number = match number {
            Some(number) => number,
            None => self.free_number()?,
        };
        let description = describe(option.generation, &option.title);
        let value = LoadOption::for_file(description, partition, option.name.efi_path()).to_bytes()?;
        write_if_changed(&*context.efi, &variable_name(number), &value)?;
        self.ours.insert(number, option);
        Ok(number)
    }

    /// Deletes one of our options.
    ///
    /// # Errors
    /// As the firmware says.
    pub fn delete_option(&mut self, efi: &dyn EfiVariables, number: u16) -> Result<()> {
        if self.ours.remove(&number).is_some() {
            efi.delete(GLOBAL_VENDOR, &variable_name(number))?;
        }
        if self.trial.is_some_and(|note| note.number == number) {
            self.forget_trial(efi)?;
        }
        Ok(())
    }

    /// Writes `BootOrder`.
    ///
    /// # Errors
    /// As the firmware says.
    pub fn write_order(&mut self, efi: &dyn EfiVariables, order: Vec<u16>) -> Result<()> {
        write_if_changed(efi, ORDER, &numbers_to_bytes(&order))?;
        self.order = order;
        Ok(())
    }

    /// Writes `BootNext`, or deletes it if it names one of ours; that of others stays.
    ///
    /// # Errors
    /// As the firmware says.
    pub fn write_next(&mut self, efi: &dyn EfiVariables, number: Option<u16>) -> Result<()> {
        match number {
            Some(number) => write_if_changed(efi, NEXT, &numbers_to_bytes(&[number]))?,
            None if self.next.is_some_and(|next| self.ours.contains_key(&next)) => {
                efi.delete(GLOBAL_VENDOR, NEXT)?;
            }
            None => return Ok(()),
        }
        self.next = number;
        Ok(())
    }

    /// Notes how a trial stands.
    ///
    /// # Errors
    /// As the firmware says.
    pub fn note_trial(&mut self, efi: &dyn EfiVariables, note: Note) -> Result<()> {
        efi.write(OUR_VENDOR, TRIAL, &note.to_bytes())?;
        self.trial = Some(note);
        Ok(())
    }

    /// Deletes the note of a trial.
    ///
    /// # Errors
    /// As the firmware says.
    pub fn forget_trial(&mut self, efi: &dyn EfiVariables) -> Result<()> {
        if efi.read(OUR_VENDOR, TRIAL)?.is_some() {
            efi.delete(OUR_VENDOR, TRIAL)?;
        }
        self.trial = None;
        Ok(())
    }
}

/// A firmware may wear out its flash, or collect garbage, for a write that changes nothing.
fn write_if_changed(efi: &dyn EfiVariables, name: &str, value: &[u8]) -> Result<()> {
    if efi.read(GLOBAL_VENDOR, name)?.as_deref() == Some(value) {
        return Ok(());
    }
    efi.write(GLOBAL_VENDOR, name, value)
}

/// An option is ours if it starts one of our files on our ESP; another disk may hold a Bootwright system too.
fn our_option(context: &BootContext, option: &LoadOption) -> Option<OurOption> {
    let ours = context.esp_partition.as_ref()?.guid == option.partition()?.guid;
    let name = UkiName::parse_efi_path(&option.file()?).filter(|_| ours)?;
    let (generation, title) = parse_description(&option.description);
    Some(OurOption { name, generation, title, active: option.attributes & ACTIVE != 0 })
}

fn describe(generation: u64, title: &str) -> String {
    let title: String = title.chars().filter(|c| !c.is_control()).take(TITLE_LIMIT).collect();
    format!("Bootwright {generation}: {title}")
}

fn parse_description(text: &str) -> (u64, String) {
    let parts = text.strip_prefix("Bootwright ").and_then(|rest| rest.split_once(": "));
    match parts.and_then(|(generation, title)| Some((generation.parse().ok()?, title))) {
        Some((generation, title)) => (generation, title.to_owned()),
        None => (0, text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back_and_a_foreign_one_has_no_generation() {
        assert_eq!(parse_description(&describe(7, "Debian: 13")), (7, "Debian: 13".into()));
        assert_eq!(parse_description("Windows Boot Manager"), (0, "Windows Boot Manager".into()));
        assert_eq!(parse_description("Bootwright 99999999999999999999: x").0, 0);
    }

    #[test]
    fn the_order_of_others_survives_even_if_it_names_options_that_do_not_exist() {
        let mut firmware = Firmware { order: vec![9, 1, 0x2001, 1], ..Firmware::default() };
        let name = UkiName::parse("bootwright-a-0123456789abcdef").unwrap();
        firmware.ours.insert(1, OurOption { name, generation: 1, title: String::new(), active: true });
        assert_eq!(firmware.order_with(&[5, 1]), [5, 1, 9, 0x2001]);
        assert_eq!(firmware.ours_in_order(), [1]);
    }
}
