//! Trials: the firmware starts what `BootNext` names once, and forgets it; the further tries are counted here.
//!
//! Somebody may have asked the firmware for another system, once, by the same variable. Then the trial waits: its first try is armed, like each further
//! one, early in the boot that comes after that.

use bootwright_core::{Result, context::BootContext};

use crate::firmware::Firmware;

/// How often an entry was started, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Starts to come, the one that is armed included.
    pub left: u32,
    /// Starts so far.
    pub done: u32,
}

/// What the variable of a trial holds: which option was armed, so that a failed trial can be told from one that was never armed, and how often it may be
/// armed again.
///
/// Bytes, little-endian: number of the option (2), generation of its plan (8), tries in all (1), tries that are not armed yet (1): all of them while it
/// waits. The last two are missing where a program wrote it that knew one try only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Number of the boot option.
    pub number: u16,
    /// Generation of the plan that wrote the option.
    pub generation: u64,
    total: u8,
    further: u8,
}

impl Note {
    /// A trial that is armed for the first of `tries.left` starts.
    pub fn new(number: u16, generation: u64, tries: Tries) -> Self {
        let further = u8::try_from(tries.left.saturating_sub(1)).unwrap_or(u8::MAX).min(u8::MAX - 1);
        let total = u8::try_from(tries.done).unwrap_or(u8::MAX).saturating_add(further).saturating_add(1);
        Self { number, generation, total, further }
    }

    /// A trial that was never started, and is to be armed when something else was.
    pub fn waiting(number: u16, generation: u64, tries: u32) -> Self {
        let total = u8::try_from(tries).unwrap_or(u8::MAX);
        Self { number, generation, total, further: total }
    }

    /// Reads one; `None` for anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<2>()?;
        let (generation, tries) = rest.split_first_chunk::<8>()?;
        let (total, further) = match tries {
            [] => (1, 0),
            [total, further] if *total > 0 && further <= total => (*total, *further),
            _ => return None,
        };
        let (number, generation) = (u16::from_le_bytes(*number), u64::from_le_bytes(*generation));
        Some(Self { number, generation, total, further })
    }

    /// Reads back by [`Self::parse`].
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&[self.total, self.further]);
        bytes
    }

    /// Whether it waits until something else was started.
    pub fn waits(self) -> bool {
        self.further == self.total
    }

    /// While `BootNext` names it, or it waits for that.
    pub fn armed(self) -> Tries {
        let left = u32::from(self.further) + u32::from(!self.waits());
        Tries { left, done: u32::from(self.total) - left }
    }

    /// While it runs, and nothing is armed yet.
    pub fn running(self) -> Tries {
        let left = u32::from(self.further);
        Tries { left, done: u32::from(self.total) - left }
    }

    /// When it was given up.
    pub fn lost(self) -> Tries {
        Tries { left: 0, ..self.running() }
    }

    /// The same with one more try armed; `None` if there is none.
    fn next(self) -> Option<Self> {
        Some(Self { further: self.further.checked_sub(1)?, ..self })
    }
}

/// Arms the open trial once more, if it has tries left. Returns whether something else runs now.
///
/// # Crash
/// The note comes first: a cut in between costs a try.
pub fn try_again(context: &BootContext) -> Result<bool> {
    let mut firmware = Firmware::load(context)?;
    let open = firmware.trial().filter(|note| firmware.next != Some(note.number));
    let Some(note) = open.and_then(Note::next) else { return Ok(false) };
    firmware.note_trial(&*context.efi, note)?;
    firmware.write_next(&*context.efi, Some(note.number))?;
    Ok(firmware.current != Some(note.number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THREE: Tries = Tries { left: 3, done: 0 };

    #[test]
    fn a_trial_comes_to_an_end_after_its_tries() {
        let mut note = Note::new(7, 1, THREE);
        let mut seen = vec![(note.armed(), note.running())];
        while let Some(next) = note.next() {
            note = next;
            seen.push((note.armed(), note.running()));
        }
        let tries = |left, done| Tries { left, done };
        assert_eq!(Note::new(7, 2, tries(2, 1)).armed(), tries(2, 1), "one that is armed in another plan");
        assert_eq!(
            seen,
            [(tries(3, 0), tries(2, 1)), (tries(2, 1), tries(1, 2)), (tries(1, 2), tries(0, 3))]
        );
        assert_eq!(Note::new(7, 1, THREE).lost(), tries(0, 1));
    }

    #[test]
    fn a_note_of_a_program_that_knew_one_try_is_one_try() {
        let bytes = Note::new(7, 9, THREE).to_bytes();
        assert_eq!(Note::parse(&bytes[..10]), Some(Note::new(7, 9, Tries { left: 1, done: 0 })));
    }

    proptest! {
        #[test]
        fn notes_read_back(number in any::<u16>(), generation in any::<u64>(), left in 0_u32..1000, done in 0_u32..1000) {
            let note = Note::new(number, generation, Tries { left, done });
            prop_assert_eq!(Note::parse(&note.to_bytes()), Some(note));
        }

        #[test]
        fn no_bytes_give_a_note_that_cannot_be_counted(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            if let Some(note) = Note::parse(&bytes) {
                let (armed, running) = (note.armed(), note.running());
                prop_assert_eq!(armed.left + armed.done, running.left + running.done);
            }
        }
    }
}
