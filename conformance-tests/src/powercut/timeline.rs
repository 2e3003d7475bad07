//! What happened to a machine's disk and variables, in order, and what of it survives when the power fails at some point.

use std::ops::Range;

use anyhow::{Result, ensure};

use super::{
    log::{self, Kind, SECTOR},
    random::Random,
    root_file_system::RootFileSystem,
};

/// Where things are in the recorded file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The disk's size; the variable store begins there.
    pub disk: u64,
    /// The EFI system partition.
    pub esp: Range<u64>,
    /// The root partition.
    pub root: Range<u64>,
    /// What is on it.
    pub file_system: RootFileSystem,
}

/// A part of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The EFI system partition.
    Esp,
    /// The root, and whatever else is on the disk.
    Root,
    /// The firmware's variables.
    Variables,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A write of whole sectors.
    Write(Write),
    /// Everything before is durable.
    Flush,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which part of the machine.
    pub part: Part,
    /// In the recorded file, in bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// Number of the log, and place there; `None` for zeros.
    source: Option<(usize, Range<usize>)>,
    /// Not in need of a flush.
    durable: bool,
    /// In the root partition, or whatever else it is in, in bytes.
    within: u64,
    /// So many bytes of it are never torn, from each multiple of that on.
    atom: u64,
}

/// All events of several times of being switched on.
#[derive(Debug, Default)]
pub struct Timeline {
    logs: Vec<Vec<u8>>,
    events: Vec<Event>,
    /// For each log: where each of its events begins in it.
    places: Vec<Vec<(usize, usize)>>,
}

/// A write that was not flushed and survives nevertheless, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kept {
    /// Its event.
    pub event: usize,
    /// Which of its sectors, by number within it; `None` for all.
    pub sectors: Option<Vec<u32>>,
}

impl Timeline {
    /// Adds what was recorded from switching on to switching off. All of it is durable for what comes later: the next boot has read it.
    ///
    /// # Errors
    /// When it is no log, or a write lies outside of `layout`.
    pub fn add(&mut self, log: Vec<u8>, layout: &Layout) -> Result<()> {
        let number = self.logs.len();
        let mut places = Vec::new();
        for request in log::parse(&log)? {
            places.push((request.at, self.events.len()));
            let event = match request.kind {
                Kind::Flush => Event::Flush,
                Kind::Write { offset, data, durable } => {
                    let length = data.len() as u64;
                    write(layout, offset, length, Some((number, data)), durable)?
                }
                Kind::Discard { offset, length } => write(layout, offset, length, None, false)?,
            };
            self.events.push(event);
        }
        self.events.push(Event::Flush);
        self.places.push(places);
        self.logs.push(log);
        Ok(())
    }

    /// Whether anything was written to `part` meanwhile.
    pub fn touches(&self, part: Part, events: Range<usize>) -> bool {
        let events = self.events.get(events).unwrap_or_default();
        events.iter().any(|event| matches!(event, Event::Write(write) if write.part == part))
    }

    /// All events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The first event that was not yet in log `number` when that had `length` bytes; the one behind the log's last if there is none.
    pub fn event_at(&self, number: usize, length: u64) -> usize {
        let places = self.places.get(number).map(Vec::as_slice).unwrap_or_default();
        let end = || places.last().map_or(0, |(_, event)| event + 1);
        places.iter().find(|(at, _)| *at as u64 >= length).map_or_else(end, |(_, event)| *event)
    }

    /// The write that is event `index`.
    pub fn write(&self, index: usize) -> Option<&Write> {
        match self.events.get(index)? {
            Event::Write(write) => Some(write),
            Event::Flush => None,
        }
    }

    /// One sector of a write, by its number within it.
    pub fn sector<'a>(&'a self, write: &Write, number: u32) -> &'a [u8] {
        const ZEROS: [u8; SECTOR] = [0; SECTOR];
        let Some((log, data)) = &write.source else { return &ZEROS };
        let start = data.start + number as usize * SECTOR;
        self.logs.get(*log).and_then(|log| log.get(start..start + SECTOR)).unwrap_or(&ZEROS)
    }

    /// All bytes of a write; `None` for zeros.
    pub fn bytes(&self, write: &Write) -> Option<&[u8]> {
        let (log, data) = write.source.as_ref()?;
        self.logs.get(*log)?.get(data.clone())
    }

    /// The events before the flush that was the last before `cut`, and that flush: all durable if the power fails at `cut`.
    pub fn durable(&self, cut: usize) -> usize {
        let before = self.events.get(..cut).unwrap_or(&self.events);
        before.iter().rposition(|event| *event == Event::Flush).map_or(0, |flush| flush + 1)
    }

    /// Writes to a part of the disk that may be lost if the power fails at `cut`.
    pub fn pending(&self, cut: usize, part: Part) -> Vec<usize> {
        let open = self.durable(cut)..cut.min(self.events.len());
        open.filter(|&index| self.write(index).is_some_and(|write| write.part == part && !write.durable))
            .collect()
    }

    /// Flushes within `window`, as the cuts right behind them.
    pub fn flushes(&self, window: &Range<usize>) -> Vec<usize> {
        window.clone().filter(|&at| self.events.get(at) == Some(&Event::Flush)).map(|at| at + 1).collect()
    }

    /// One line for each event of `window`, for people.
    pub fn listing(&self, window: &Range<usize>) -> String {
        let mut lines = Vec::new();
        for index in window.clone() {
            let line = match self.write(index) {
                None => "flush".to_owned(),
                Some(write) => {
                    format!("{:?} at sector {} + {}", write.part, write.offset / 512, write.sectors())
                }
            };
            lines.push(format!("{index} {line}\n"));
        }
        lines.concat()
    }

    /// A choice of what survives out of `pending`: each write with `percent` of 100, and of those that do not, some in part.
    pub fn subset(&self, pending: &[usize], percent: usize, random: &mut Random) -> Vec<Kept> {
        let mut kept = Vec::new();
        for &event in pending {
            if random.percent(percent) {
                kept.push(Kept { event, sectors: None });
            } else if percent > 0 && random.percent(20) {
                let sectors = self.write(event).map(|write| write.torn(random)).unwrap_or_default();
                if !sectors.is_empty() {
                    kept.push(Kept { event, sectors: Some(sectors) });
                }
            }
        }
        kept
    }
}

impl Write {
    /// How many sectors it has.
    pub fn sectors(&self) -> u32 {
        u32::try_from(self.length / SECTOR as u64).unwrap_or(u32::MAX)
    }

    /// Half of it, by chance: the numbers of its sectors. What is never torn is wholly there or not at all.
    fn torn(&self, random: &mut Random) -> Vec<u32> {
        let atom = |number: &u32| (self.within + u64::from(*number) * SECTOR as u64) / self.atom;
        let numbers: Vec<_> = (0..self.sectors()).collect();
        let atoms = numbers.chunk_by(|a, b| atom(a) == atom(b));
        atoms.filter(|_| random.percent(50)).flatten().copied().collect()
    }

    /// Whether it needs no flush: variables, which firmware writes in order, and writes that ask for it.
    pub fn is_durable(&self) -> bool {
        self.durable
    }
}

fn write(
    layout: &Layout,
    offset: u64,
    length: u64,
    source: Option<(usize, Range<usize>)>,
    durable: bool,
) -> Result<Event> {
    let part = if offset >= layout.disk {
        Part::Variables
    } else if layout.esp.contains(&offset) {
        Part::Esp
    } else {
        Part::Root
    };
    ensure!(part == Part::Variables || offset + length <= layout.disk, "a write beyond the disk at {offset}");
    let durable = durable || part == Part::Variables;
    let on_root = offset.checked_sub(layout.root.start).filter(|_| part == Part::Root);
    let atom = on_root.map_or(SECTOR as u64, |within| layout.file_system.atom(within));
    let within = on_root.unwrap_or(offset);
    Ok(Event::Write(Write { part, offset, length, source, durable, within, atom }))
}

#[cfg(test)]
mod tests {
    use super::{super::log::tests::log_of, *};

    const FLUSH: u64 = 1;

    fn layout() -> Layout {
        Layout {
            disk: 100 * 512,
            esp: 10 * 512..50 * 512,
            root: 50 * 512..100 * 512,
            file_system: RootFileSystem::Ext4,
        }
    }

    fn timeline() -> Timeline {
        let log = log_of(&[
            (10, 0, &[1; 1024]),
            (60, 0, &[2; 512]),
            (100, 0, &[3; 512]),
            (0, FLUSH, &[]),
            (60, 0, &[4; 2048]),
            (12, 0, &[5; 512]),
        ]);
        let mut timeline = Timeline::default();
        timeline.add(log, &layout()).unwrap();
        timeline
    }

    #[test]
    fn what_was_not_flushed_may_be_lost_but_for_variables() {
        let timeline = timeline();
        assert_eq!((timeline.pending(3, Part::Esp), timeline.pending(3, Part::Root)), (vec![0], vec![1]));
        assert!(timeline.pending(3, Part::Variables).is_empty());
        assert_eq!((timeline.durable(3), timeline.durable(4), timeline.durable(6)), (0, 4, 4));
        assert_eq!((timeline.pending(6, Part::Esp), timeline.pending(6, Part::Root)), (vec![5], vec![4]));
        assert_eq!(timeline.flushes(&(0..7)), [4, 7]);
    }

    #[test]
    fn the_same_seed_keeps_the_same_sectors() {
        let timeline = timeline();
        let choose = |seed| timeline.subset(&[4, 5], 30, &mut Random::new(seed));
        let all: Vec<_> = (0..50).map(choose).collect();
        assert_eq!(all, (0..50).map(choose).collect::<Vec<_>>());
        let torn = all.iter().flatten().filter_map(|kept| kept.sectors.clone());
        assert!(torn.clone().any(|sectors| sectors.len() > 1 && sectors.len() < 4), "{all:?}");
        assert!(torn.flatten().all(|sector| sector < 4));
        assert!(timeline.subset(&[4, 5], 0, &mut Random::new(1)).is_empty());
    }

    #[test]
    fn blocks_that_must_not_be_torn_are_not() {
        let layout = Layout { file_system: RootFileSystem::Xfs, ..layout() };
        // Three sectors of one block of the root, then all of the next two blocks.
        let log = log_of(&[(55, 0, &[1; 3 * 512]), (58, 0, &[2; 8192])]);
        let mut timeline = Timeline::default();
        timeline.add(log, &layout).unwrap();
        let choose = |seed| timeline.subset(&[0, 1], 30, &mut Random::new(seed));
        let torn: Vec<_> = (0..100).flat_map(choose).filter_map(|kept| kept.sectors).collect();
        assert!(torn.iter().any(|sectors| sectors.len() == 8), "{torn:?}");
        for sectors in torn.iter().filter(|sectors| sectors.len() != 3) {
            assert!(matches!(sectors.len(), 8 | 16) && sectors.first().is_some_and(|first| first % 8 == 0));
        }
    }

    #[test]
    fn a_position_in_the_log_is_found_again() {
        let timeline = timeline();
        assert_eq!(
            (timeline.event_at(0, 0), timeline.event_at(0, 513), timeline.event_at(0, 1 << 20)),
            (0, 1, 6)
        );
        assert_eq!(timeline.sector(timeline.write(4).unwrap(), 3), [4; 512]);
    }

    #[test]
    fn a_write_over_the_end_is_refused() {
        let log = log_of(&[(99, 0, &[1; 1024])]);
        assert!(Timeline::default().add(log, &layout()).is_err());
    }
}
