//! Which states of a machine are looked at: every flush; between flushes, each small write to the ESP lost alone and kept alone, and a seeded choice
//! of what survived.

use std::{collections::HashSet, ops::Range};

use super::{
    random::Random,
    timeline::{Kept, Part, Timeline},
};

/// How likely an unflushed write survives, in percent. None and all of them come last: without the ESP, those are the states at flushes.
const CHANCES: [usize; 5] = [50, 90, 15, 100, 0];
/// States of the ESP that are tried with one state of the root: those are the cheap ones.
const BESIDE: usize = 4;
/// How often each stretch between flushes is chosen from at most.
const ROUNDS: usize = 200;
/// So many sectors at most has a write of FAT's own, to the table or a folder, and of a small file.
const SMALL: u32 = 16;

/// States that differ in the ESP only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The power fails before this event.
    pub cut: usize,
    /// What survives of the unflushed writes to the root.
    pub root: Vec<Kept>,
    /// What survives of those to the ESP, for each state.
    pub esp: Vec<Vec<Kept>>,
}

/// Chooses about `count` states in `window`, in the order of their cuts. There are fewer if there is not as much to choose from.
pub fn choose(timeline: &Timeline, window: &Range<usize>, count: usize, seed: u64) -> Vec<Group> {
    let mut random = Random::new(seed);
    let mut groups = vec![plain(window.start)];
    groups.extend(timeline.flushes(window).into_iter().map(plain));
    groups.push(plain(window.end));
    let plain = groups.len();
    let epochs = epochs(timeline, window);
    let mut tried = HashSet::new();
    for single in singles(timeline, &epochs, count.saturating_sub(plain) / 2, &mut random) {
        tried.insert((happened(timeline, single.cut), Vec::new(), single.esp.concat()));
        groups.push(single);
    }
    let mut round = 0;
    // Short stretches are exhausted soon: the number of rounds is bounded.
    while plain + tried.len() < count && round < ROUNDS {
        for epoch in &epochs {
            if plain + tried.len() >= count {
                break;
            }
            let mut group = group(timeline, epoch, round, &mut random);
            let happened = happened(timeline, group.cut);
            group.esp.retain(|esp| tried.insert((happened, group.root.clone(), esp.clone())));
            if !group.esp.is_empty() {
                groups.push(group);
            }
        }
        round += 1;
    }
    groups.sort_by_key(|group| group.cut);
    groups
}

/// What had happened for good at a cut: the last flush, and the last write to a variable.
fn happened(timeline: &Timeline, cut: usize) -> (usize, Option<usize>) {
    let before = timeline.durable(cut)..cut;
    let variable = |&at: &usize| timeline.write(at).is_some_and(|write| write.part == Part::Variables);
    (before.start, before.rev().find(variable))
}

/// Everything unflushed is lost.
fn plain(cut: usize) -> Group {
    Group { cut, root: Vec::new(), esp: vec![Vec::new()] }
}

/// Where the order of writes matters to FAT, one of them alone shows it, lost or kept: `count` such states at most, by chance where there are more. The
/// root has what is durable: a loader may need that only.
fn singles(timeline: &Timeline, epochs: &[Range<usize>], count: usize, random: &mut Random) -> Vec<Group> {
    let small = |&event: &usize| timeline.write(event).is_some_and(|write| write.sectors() <= SMALL);
    let mut found = Vec::new();
    for epoch in epochs {
        let pending = timeline.pending(epoch.end, Part::Esp);
        let kept = |event| Kept { event, sectors: None };
        for event in pending.iter().copied().filter(small) {
            let others = pending.iter().copied().filter(|&other| other != event).map(kept).collect();
            for esp in [others, vec![kept(event)]] {
                found.push(Group { cut: epoch.end, root: Vec::new(), esp: vec![esp] });
            }
        }
    }
    while found.len() > count {
        found.swap_remove(random.below(found.len()));
    }
    found
}

/// Stretches between flushes with something in them.
fn epochs(timeline: &Timeline, window: &Range<usize>) -> Vec<Range<usize>> {
    let ends = timeline.flushes(window).into_iter().map(|cut| cut - 1).chain([window.end]);
    let mut start = window.start;
    let mut found = Vec::new();
    for end in ends {
        if end > start {
            found.push(start..end);
        }
        start = end + 1;
    }
    found
}

fn group(timeline: &Timeline, epoch: &Range<usize>, round: usize, random: &mut Random) -> Group {
    // The last moment before the flush has most to lose.
    let cut = if round < CHANCES.len() { epoch.end } else { epoch.start + 1 + random.below(epoch.len()) };
    let chance = |at: usize| CHANCES.get(at % CHANCES.len()).copied().unwrap_or_default();
    let root = timeline.subset(&timeline.pending(cut, Part::Root), chance(round), random);
    let pending = timeline.pending(cut, Part::Esp);
    let beside = if pending.is_empty() { 1 } else { BESIDE };
    let esp = (0..beside).map(|index| {
        let chance = chance(index + random.below(2) * BESIDE + round);
        timeline.subset(&pending, chance, random)
    });
    let esp = esp.collect();
    Group { cut, root, esp }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{log::tests::log_of, root_file_system::RootFileSystem, timeline::Layout},
        *,
    };

    fn timeline() -> Timeline {
        let layout = Layout {
            disk: 100 * 512,
            esp: 0..50 * 512,
            root: 50 * 512..100 * 512,
            file_system: RootFileSystem::Ext4,
        };
        let write = |sector| (sector, 0, [1_u8; 1024].as_slice());
        let flush = (0, 1, [].as_slice());
        let log = log_of(&[write(1), write(60), write(5), flush, write(70), write(8), flush]);
        let mut timeline = Timeline::default();
        timeline.add(log, &layout).unwrap();
        timeline
    }

    #[test]
    fn every_flush_and_the_asked_number_of_states_are_there() {
        let timeline = timeline();
        let groups = choose(&timeline, &(0..7), 20, 1);
        for flush in [4, 7] {
            assert!(groups.iter().any(|group| *group == plain(flush)));
        }
        let states: usize = groups.iter().map(|group| group.esp.len()).sum();
        assert!((20..30).contains(&states), "{states}");
        assert!(groups.is_sorted_by_key(|group| group.cut));
        assert_eq!(groups, choose(&timeline, &(0..7), 20, 1));
        assert_ne!(groups, choose(&timeline, &(0..7), 20, 2));
    }

    #[test]
    fn only_unflushed_writes_of_the_right_part_are_chosen_from() {
        let timeline = timeline();
        for group in choose(&timeline, &(0..7), 100, 3) {
            let root = timeline.pending(group.cut, Part::Root);
            assert!(group.root.iter().all(|kept| root.contains(&kept.event)));
            let esp = timeline.pending(group.cut, Part::Esp);
            assert!(group.esp.iter().flatten().all(|kept| esp.contains(&kept.event)));
        }
    }

    #[test]
    fn each_small_write_to_the_esp_is_lost_alone_and_kept_alone() {
        let timeline = timeline();
        let groups = choose(&timeline, &(0..7), 100, 1);
        let whole = |event| vec![Kept { event, sectors: None }];
        for (cut, kept) in [(3, whole(0)), (3, whole(2)), (6, whole(5)), (6, Vec::new())] {
            let of = |group: &&Group| group.cut == cut && group.root.is_empty();
            assert!(groups.iter().filter(of).any(|group| group.esp.contains(&kept)), "{cut} {kept:?}");
        }
    }

    #[test]
    fn a_window_without_writes_has_its_ends_only() {
        assert_eq!(choose(&timeline(), &(3..3), 10, 1).len(), 2);
    }
}
