//! Everything that is on disk and in the firmware, brought into one order.

use bootwright_core::{Result, context::BootContext, fs::Root, model::EntryId};

use crate::{
    firmware::{self, Firmware},
    names::{UkiName, list},
    plans::Notes,
    removable::Removable,
    trial::Tries,
};

/// One of our entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its UKI.
    pub name: UkiName,
    /// Its boot option.
    pub number: Option<u16>,
    /// If it is being tried.
    pub tries: Option<Tries>,
    /// Why the firmware passes it over.
    pub problem: Option<String>,
}

/// What is there.
#[derive(Debug)]
pub struct Seen {
    /// Boot options; `None` where there is no firmware to ask.
    pub firmware: Option<Firmware>,
    /// Notes on published plans.
    pub notes: Notes,
    /// What lies on the removable-media path.
    pub removable: Removable,
    /// Whether `BootOrder` decides what boots; if not, the removable-media path does.
    pub by_order: bool,
    /// What boots when no trial is armed, the default first; once for each deployment.
    pub base: Vec<Listed>,
    /// Generation of `base`.
    base_generation: u64,
}

impl Seen {
    /// Looks at everything.
    pub fn load(context: &BootContext) -> Result<Self> {
        let esp = &context.esp;
        let notes = Notes::load(esp)?;
        let removable = Removable::look(esp, &notes)?;
        let firmware = if firmware::usable(context) { Some(Firmware::load(context)?) } else { None };
        let ordered = firmware.as_ref().map(|firmware| in_order(esp, firmware)).unwrap_or_default();
        let by_order = ordered.first().is_some_and(|first| first.problem.is_none());
        let (base, base_generation) = if by_order {
            let first = ordered.first().and_then(|first| first.number);
            let option = first.and_then(|number| firmware.as_ref()?.ours.get(&number));
            let generation = option.map_or(0, |option| option.generation);
            (ordered, generation)
        } else {
            by_removable_path(esp, &notes, &removable, ordered)?
        };
        Ok(Self { firmware, notes, removable, by_order, base: once_each(base), base_generation })
    }

    /// The entry that is tried at the next boot.
    pub fn armed(&self) -> Option<Listed> {
        self.trial(Firmware::armed_trial)
    }

    /// The entry that is being tried now, or that failed.
    pub fn spent(&self) -> Option<Listed> {
        self.trial(Firmware::spent_trial)
    }

    fn trial(&self, which: fn(&Firmware) -> Option<(u16, Tries)>) -> Option<Listed> {
        let firmware = self.firmware.as_ref()?;
        let (number, tries) = which(firmware)?;
        let name = firmware.ours.get(&number)?.name.clone();
        Some(Listed { name, number: Some(number), tries: Some(tries), problem: None })
    }

    /// What follows the entry that is being tried in its plan, as far as it is whole. It takes the place of `base` when the trial proves good:
    /// the plan may hold the way back with other arguments than it boots with until then.
    pub fn behind_trial(&self, esp: &Root) -> Vec<UkiName> {
        let Some(tried) = self.armed().or_else(|| self.spent()) else { return Vec::new() };
        let planned =
            self.notes.of_default(&tried.name).into_iter().flat_map(|note| note.entries.iter().skip(1));
        planned.filter_map(crate::plans::Line::name).filter(|name| missing(esp, name).is_none()).collect()
    }

    /// All entries, in the order in which they will be chosen: an armed trial first, a spent one last.
    pub fn entries(&self) -> Vec<Listed> {
        let armed = self.armed();
        let spent = self.spent();
        once_each(armed.into_iter().chain(self.base.iter().cloned()).chain(spent).collect())
    }

    /// Generation of the newest committed plan.
    pub fn generation(&self) -> u64 {
        let of = |listed: Option<Listed>| {
            listed.and_then(|l| self.firmware.as_ref()?.ours.get(&l.number?)).map(|option| option.generation)
        };
        of(self.armed()).unwrap_or_else(|| self.base_generation.max(of(self.spent()).unwrap_or(0)))
    }

    /// The entry with this id.
    pub fn by_id(&self, id: &EntryId) -> Option<Listed> {
        self.entries().into_iter().find(|listed| listed.name.stem() == id.as_str())
    }
}

/// Our options in `BootOrder`; those that the firmware passes over last.
fn in_order(esp: &Root, firmware: &Firmware) -> Vec<Listed> {
    let mut listed: Vec<_> = firmware
        .ours_in_order()
        .into_iter()
        .filter_map(|number| {
            let option = firmware.ours.get(&number)?;
            let off = (!option.active).then(|| "its boot option is deactivated in the firmware".to_owned());
            let problem = off.or_else(|| missing(esp, &option.name));
            Some(Listed { name: option.name.clone(), number: Some(number), tries: None, problem })
        })
        .collect();
    listed.sort_by_key(|listed| listed.problem.is_some());
    listed
}

/// Why a UKI cannot be started, as far as one sees without reading all of it.
pub fn missing(esp: &Root, name: &UkiName) -> Option<String> {
    let path = name.path();
    match esp.size_of(&path) {
        Ok(Some(size)) if size > 0 => None,
        _ => Some(format!("{path} is missing or empty")),
    }
}

/// What the removable-media path boots, and what the plan that put it there holds besides. Without notes: every UKI that is there.
fn by_removable_path(
    esp: &Root,
    notes: &Notes,
    removable: &Removable,
    ordered: Vec<Listed>,
) -> Result<(Vec<Listed>, u64)> {
    let plain = |name: UkiName| Listed { name, number: None, tries: None, problem: None };
    let Removable::Ours { name, digest } = removable else {
        return Ok((ordered, 0));
    };
    let default = std::iter::once(plain(name.clone()));
    match notes.with_default(digest) {
        Some(note) => {
            let others = note.entries.iter().skip(1).filter_map(crate::plans::Line::name);
            let there = others.filter(|name| missing(esp, name).is_none()).map(plain);
            Ok((default.chain(there).chain(ordered).collect(), note.generation))
        }
        None => Ok((default.chain(list(esp)?.into_iter().map(plain)).collect(), 0)),
    }
}

/// Keeps the first entry of each deployment.
fn once_each(entries: Vec<Listed>) -> Vec<Listed> {
    let mut seen = std::collections::BTreeSet::new();
    entries.into_iter().filter(|listed| seen.insert(listed.name.deployment.clone())).collect()
}
