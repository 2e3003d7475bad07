//! What `/proc` says of processes (proc(5)): parsing apart from reading.

use std::{collections::BTreeSet, fs};

/// Ticks of a second in `/proc`: `USER_HZ`, which is 100 on every architecture that Linux still starts on.
const TICKS: f64 = 100.0;

/// Use of the processor in seconds, user and system, by children that have ended and were waited for, and theirs.
pub fn children_seconds() -> f64 {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| seconds(&stat, 13)).unwrap_or_default()
}

/// Use of the processor in seconds, user and system, by one process that runs.
pub fn seconds_of(process: u32) -> f64 {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .ok()
        .and_then(|stat| seconds(&stat, 11))
        .unwrap_or_default()
}

/// Adds two neighbouring fields of `stat`; the first one after the program's name, which may hold anything, is number 0.
fn seconds(stat: &str, first: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(first).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS)
}

/// The most memory in bytes that a process has had resident since it was started; `None` once it has ended.
pub fn peak_memory(process: u32) -> Option<u64> {
    memory_line(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn memory_line(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A process and everything that it has started and that still runs.
pub fn tree(root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut todo = vec![root];
    while let Some(process) = todo.pop() {
        if found.insert(process) {
            todo.extend(children(process));
        }
    }
    found
}

/// Each thread has its own list.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 0 0 0 0 150 50 300 100 20 0 1 0 5 0 0";
        assert_eq!(seconds(stat, 11), Some(2.0));
        assert_eq!(seconds(stat, 13), Some(4.0));
        assert_eq!(seconds("7 (cut", 11), None);
    }

    #[test]
    fn the_peak_is_given_in_bytes_and_missing_for_a_process_that_has_ended() {
        assert_eq!(memory_line("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(memory_line("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn this_process_has_used_memory_and_belongs_to_its_own_tree() {
        let own = std::process::id();
        assert!(peak_memory(own).is_some_and(|bytes| bytes > 100_000));
        assert!(tree(own).contains(&own));
    }
}
