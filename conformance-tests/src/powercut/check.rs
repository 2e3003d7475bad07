//! Walks through a recorded life, rebuilds each chosen state, and has it judged.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    choice::{Group, choose},
    esp::{Damaged, EspFolder},
    fat::Damage,
    judge::{Judge, NOTHING, Root},
    life::{Life, Verb, Window},
    machine::{Key, Machine, bytes_key},
    random::Random,
    scratch::{Clone, MountedRoot, Scratch},
    timeline::{Event, Kept, Part, Timeline},
    tree::Before,
};
use crate::{host, lifecycle::OfflineDisk};

/// One in this many recovered roots is given to its own checking program as well.
const FSCK_EVERY: usize = 25;
/// One in this many has the sizes of all its objects compared.
const THOROUGH_EVERY: usize = 10;
/// Failures that are told in full.
const TOLD: usize = 20;

/// How much to look at.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// States of each verb.
    pub states: usize,
    /// Machines to boot for each verb.
    pub boots: usize,
    /// What the choice depends on.
    pub seed: u64,
}

/// What was found for one verb.
#[derive(Debug, Clone)]
pub struct Findings {
    /// The verb.
    pub verb: Verb,
    /// Writes and flushes while it ran.
    pub events: (usize, usize),
    /// States that were checked, each different from all others.
    pub states: usize,
    /// Those in which the kernel would stumble over something on the ESP.
    pub damaged: usize,
    /// Which first states are to be booted, whatever was chosen.
    wanted: Wanted,
    /// States that were equal to one already checked.
    pub equal: usize,
    /// How many states boot which version by default.
    pub booting: BTreeMap<&'static str, usize>,
    /// Machines that were booted.
    pub boots: usize,
    /// What is wrong, with the state.
    pub failures: Vec<String>,
    /// How many failed.
    pub failed: usize,
    /// Time for the states.
    pub took: Duration,
}

/// A kind of states, of which the first one is always booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Something on the ESP would make the kernel stumble over its clusters.
    Damaged,
    /// A folder on the ESP ends before half a name.
    EndsEarly,
    /// Where it is about to be confirmed, the version on trial does not boot.
    Back,
    /// While it is installed, it boots already.
    BootsEarly,
    /// It was just installed: no other state has all of a loader for certain.
    Installed,
}

/// Kinds that were not met yet.
#[derive(Debug, Clone, Default)]
struct Wanted(BTreeSet<Kind>);

impl Wanted {
    fn all() -> Self {
        use Kind::{Back, BootsEarly, Damaged, EndsEarly, Installed};
        Self(BTreeSet::from([Damaged, EndsEarly, Back, BootsEarly, Installed]))
    }

    /// Whether such a state is of a kind that was not met yet. All of its kinds are met then. Where nothing boots, all of the disk is written anew.
    fn take(&mut self, damaged: &[Damaged], verb: Verb, version: &str) -> bool {
        if version == NOTHING {
            return false;
        }
        let is_early = |found: &Damaged| found.damage == Damage::EndsEarly;
        let is_new = version == verb.leads_to();
        let kinds = [
            (Kind::Damaged, !damaged.iter().all(is_early)),
            (Kind::EndsEarly, damaged.iter().any(is_early)),
            (Kind::Back, verb == Verb::Confirm && !is_new),
            (Kind::BootsEarly, verb == Verb::Install && is_new),
        ];
        kinds.into_iter().filter(|(kind, here)| *here && self.0.remove(kind)).count() > 0
    }

    /// The same of the state right after a verb, with everything unflushed lost.
    fn take_finished(&mut self, verb: Verb) -> bool {
        verb == Verb::Install && self.0.remove(&Kind::Installed)
    }
}

/// A state that is to be booted by a real machine.
#[derive(Debug)]
pub struct Bootable {
    /// The disk, as the cut left it.
    pub disk: Clone,
    /// The variable store.
    pub variables: Vec<u8>,
    /// The version that should come up.
    pub version: &'static str,
    /// For messages.
    pub name: String,
    /// What ran.
    pub verb: Verb,
}

/// What the walk carries along.
struct Walk<'a> {
    life: &'a Life,
    scratch: &'a Scratch,
    machine: Machine<'a>,
    judge: Judge,
    before: Before,
    esp: EspFolder,
    root: Option<(Key, Root)>,
    mounts: usize,
    seen: HashSet<(Key, Key, Key)>,
}

/// Checks the windows of `life` that `verbs` have, and returns what was found and what is to be booted.
///
/// # Errors
/// When states cannot be rebuilt; what is wrong with them is in the findings.
pub fn check(
    life: &Life,
    scratch: &Scratch,
    verbs: &[Verb],
    amount: Amount,
) -> Result<(Vec<Findings>, Vec<Bootable>)> {
    let mut walk = Walk::start(life, scratch)?;
    let (mut all, mut bootable) = (Vec::new(), Vec::new());
    for (number, window) in life.windows.iter().enumerate() {
        if !verbs.contains(&window.verb) {
            continue;
        }
        let seed = amount.seed.wrapping_mul(1000).wrapping_add(number as u64);
        let groups = choose(&life.timeline, &window.events, amount.states, seed);
        let boots = chosen(groups.len(), amount.boots, seed);
        let mut findings = Findings::new(window, &life.timeline);
        findings.wanted = if amount.boots > 0 { Wanted::all() } else { Wanted::default() };
        let start = Instant::now();
        // Groups without a new state pass their turn on, and what is booted out of turn counts as well.
        let mut due: i64 = 0;
        for (at, group) in groups.iter().enumerate() {
            due += i64::from(boots.contains(&at));
            walk.group(window, group, &mut findings, &mut due, &mut bootable)?;
        }
        walk.finished(window, &mut findings, &mut bootable)?;
        findings.took = start.elapsed();
        println!("         {}", findings.line());
        all.push(findings);
    }
    Ok((all, bootable))
}

/// `count` different numbers in the first nine tenths below `limit`: near the end there might be no new state to take.
fn chosen(limit: usize, count: usize, seed: u64) -> HashSet<usize> {
    let limit = (limit * 9 / 10).max(1);
    let mut random = Random::new(seed ^ 0xb007);
    let mut found = HashSet::new();
    while found.len() < count.min(limit) {
        found.insert(random.below(limit));
    }
    found
}

impl<'a> Walk<'a> {
    fn start(life: &'a Life, scratch: &'a Scratch) -> Result<Self> {
        let machine = Machine::new(life, scratch.path().join("durable.img"))?;
        let judge = Judge::new(life, scratch.memory("judge")?);
        let esp = EspFolder::new(scratch.memory("esp")?);
        std::fs::create_dir_all(scratch.path().join("root"))?;
        let mut walk = Self {
            life,
            scratch,
            machine,
            judge,
            before: Before::default(),
            esp,
            root: None,
            mounts: 0,
            seen: HashSet::new(),
        };
        if life.windows.iter().all(|window| window.verb != Verb::Install) {
            walk.mount(&[])?;
            let (_, root) = walk.root.as_ref().context("a root")?;
            walk.before = Before::look(root.mounted().path())?;
        }
        for (number, window) in life.windows.iter().enumerate() {
            if let Some((version, cut)) = learned(life, number, window) {
                let learned = walk.learn(version, cut);
                if learned.is_err() {
                    walk.save(window, &Group { cut, root: Vec::new(), esp: Vec::new() }, &[])?;
                }
                learned?;
            }
        }
        // From the beginning again.
        walk.root = None;
        walk.machine = Machine::new(life, scratch.path().join("durable.img"))?;
        Ok(walk)
    }

    fn learn(&mut self, version: &'static str, cut: usize) -> Result<()> {
        self.show(cut, &[], &[]).with_context(|| format!("the state in which {version} is whole"))?;
        let (_, root) = self.root.as_mut().context("a root")?;
        let variables = self.machine.variables();
        self.judge
            .learn(version, &self.before, &mut self.esp, root, variables)
            .with_context(|| format!("learn what {version} is"))
    }

    /// Makes ESP folder and mounted root those of a state.
    fn show(&mut self, cut: usize, root: &[Kept], esp: &[Kept]) -> Result<()> {
        self.machine.advance(cut)?;
        self.mount(root)?;
        let patch = self.machine.patch(esp);
        self.esp.show(&self.machine, self.life.layout.esp.start, &patch)
    }

    /// Recovers the root with these writes, unless that is what is mounted.
    fn mount(&mut self, kept: &[Kept]) -> Result<()> {
        let patch = self.machine.patch(kept);
        let key = self.machine.patched_key(Part::Root, &patch);
        if self.root.as_ref().is_some_and(|(mounted, _)| *mounted == key) {
            return Ok(());
        }
        self.mounts += 1;
        // Nobody starts a root that is being made.
        if let Some((_, root)) = self.root.take()
            && root.is_started()
            && self.mounts.is_multiple_of(FSCK_EVERY)
        {
            root.into_mounted().check()?;
        }
        let disk = Clone::make(self.machine.file(), self.file(), &patch)?;
        let at = self.scratch.path().join("root");
        let mounted = MountedRoot::mount(disk, &self.life.layout, &at)?;
        self.root = Some((key, Root::new(mounted, self.mounts.is_multiple_of(THOROUGH_EVERY))));
        Ok(())
    }

    /// A name that no mounted file has.
    fn file(&self) -> PathBuf {
        self.scratch.path().join(format!("clone{}.img", self.mounts))
    }

    fn group(
        &mut self,
        window: &Window,
        group: &Group,
        findings: &mut Findings,
        due: &mut i64,
        bootable: &mut Vec<Bootable>,
    ) -> Result<()> {
        self.machine.advance(group.cut)?;
        let root_key = self.machine.patched_key(Part::Root, &self.machine.patch(&group.root));
        for esp in &group.esp {
            let esp_key = self.machine.patched_key(Part::Esp, &self.machine.patch(esp));
            if !self.seen.insert((root_key, esp_key, bytes_key(self.machine.variables()))) {
                findings.equal += 1;
                continue;
            }
            findings.states += 1;
            let verdict = self.state(window, group, esp);
            match verdict {
                Ok(version) => {
                    *findings.booting.entry(version).or_default() += 1;
                    let damaged = self.esp.damaged();
                    findings.damaged += usize::from(!damaged.is_empty());
                    if findings.wanted.take(damaged, window.verb, version) || *due > 0 {
                        *due -= 1;
                        bootable.push(self.bootable(window.verb, group, esp, version, bootable.len())?);
                    }
                }
                Err(error) => {
                    if findings.failed == 0 {
                        self.save(window, group, esp).context("keep a state that is wrong")?;
                    }
                    findings.failure(&describe(&self.life.timeline, group, esp), &error);
                }
            }
        }
        Ok(())
    }

    fn state(&mut self, window: &Window, group: &Group, esp: &[Kept]) -> Result<&'static str> {
        if window.verb == Verb::Install {
            return self.installation(group, esp);
        }
        self.show(group.cut, &group.root, esp)?;
        let (_, root) = self.root.as_mut().context("a root")?;
        let loading = !self.life.timeline.touches(Part::Root, window.events.start..group.cut);
        self.judge.check((window.verb, loading), &mut self.esp, root, self.machine.variables())
    }

    /// A state in which there may be no file systems yet, and no table that leads to them.
    fn installation(&mut self, group: &Group, esp: &[Kept]) -> Result<&'static str> {
        self.machine.advance(group.cut)?;
        let patch = self.machine.patch(esp);
        let shown = self.esp.show(&self.machine, self.life.layout.esp.start, &patch);
        if shown.is_err() || self.esp.is_empty() {
            return Ok(NOTHING);
        }
        if let Err(error) = self.mount(&group.root) {
            let empty = self.scratch.memory("empty")?;
            let starts = self.judge.starts_anything(&self.esp, &empty, self.machine.variables());
            return if starts { Err(error.context("it is started")) } else { Ok(NOTHING) };
        }
        let (_, root) = self.root.as_mut().context("a root")?;
        let version = self.judge.check_installation(&mut self.esp, root, self.machine.variables())?;
        if version != NOTHING {
            let table = OfflineDisk::open(root.mounted().disk()).context("the partition table")?;
            ensure!(table.esp_guid()? == self.life.esp_guid, "it is started from another partition table");
        }
        Ok(version)
    }

    /// Leaves the disk, the variables and a list of what was written below the target folder, to be looked at.
    fn save(&self, window: &Window, group: &Group, esp: &[Kept]) -> Result<()> {
        let folder = host::target_dir().join("power-cuts");
        std::fs::create_dir_all(&folder)?;
        let cell = format!("{}-{}", self.life.cell, self.life.layout.file_system.name());
        let name = |ending| folder.join(format!("{cell}-{}.{ending}", window.verb.name()));
        let mut patch = self.machine.patch(&group.root);
        patch.extend(self.machine.patch(esp));
        let disk = Clone::make(self.machine.file(), self.scratch.path().join("wrong.img"), &patch)?;
        super::life::copy(disk.path(), &name("img"))?;
        std::fs::write(name("vars"), self.machine.variables())?;
        std::fs::write(name("console"), self.life.consoles.concat())?;
        std::fs::write(name("events"), self.life.timeline.listing(&window.events))?;
        println!("         the first state that is wrong is kept as {}", name("img").display());
        Ok(())
    }

    fn bootable(
        &self,
        verb: Verb,
        group: &Group,
        esp: &[Kept],
        version: &'static str,
        number: usize,
    ) -> Result<Bootable> {
        let mut patch = self.machine.patch(&group.root);
        patch.extend(self.machine.patch(esp));
        let file = self.scratch.path().join(format!("boot{number}.img"));
        let disk = Clone::make(self.machine.file(), file, &patch)?;
        let stumbles: Vec<_> = self.esp.damaged().iter().map(ToString::to_string).collect();
        let name = describe(&self.life.timeline, group, esp);
        let name = format!("{name}; the kernel stumbles over: {stumbles:?}");
        Ok(Bootable { disk, variables: self.machine.variables().to_vec(), version, name, verb })
    }

    /// A verb that is done is done: with everything unflushed lost, the new version boots.
    fn finished(
        &mut self,
        window: &Window,
        findings: &mut Findings,
        bootable: &mut Vec<Bootable>,
    ) -> Result<()> {
        let group = Group { cut: window.events.end, root: Vec::new(), esp: vec![Vec::new()] };
        self.machine.advance(group.cut)?;
        let new = window.verb.leads_to();
        let state = self.state(window, &group, &[]);
        let problem = match state {
            Ok(version) if version == new => {
                if findings.wanted.take_finished(window.verb) {
                    bootable.push(self.bootable(window.verb, &group, &[], version, bootable.len())?);
                }
                return Ok(());
            }
            Ok(version) => anyhow::anyhow!("it is done, and {version} boots, not {new}"),
            Err(error) => error,
        };
        findings.failure(&describe(&self.life.timeline, &group, &[]), &problem);
        Ok(())
    }
}

/// The version that is whole, and boots, where a window begins; only where it is the first window of which that is so.
fn learned(life: &Life, number: usize, window: &Window) -> Option<(&'static str, usize)> {
    let before = life.windows.get(..number).unwrap_or_default();
    match window.verb {
        // With all that it wrote, flushed or not.
        Verb::Install => Some(("v1", life.timeline.events().len())),
        Verb::Upgrade | Verb::Finalise if before.is_empty() => Some(("v1", window.events.start)),
        _ => None,
    }
    .or_else(|| (window.verb == Verb::Finalise).then_some(("v2", window.events.end)))
}

/// A state, so that it can be told and made again.
fn describe(timeline: &Timeline, group: &Group, esp: &[Kept]) -> String {
    let mut lost = Vec::new();
    for (part, kept) in [(Part::Root, group.root.as_slice()), (Part::Esp, esp)] {
        let pending = timeline.pending(group.cut, part);
        let torn = kept.iter().filter(|kept| kept.sectors.is_some()).count();
        let whole: HashSet<_> =
            kept.iter().filter(|kept| kept.sectors.is_none()).map(|kept| kept.event).collect();
        let gone: Vec<_> = pending.iter().filter(|event| !whole.contains(event)).take(12).collect();
        lost.push(format!(
            "{part:?}: {} of {} unflushed writes kept, {torn} torn, not whole: {gone:?}",
            kept.len(),
            pending.len()
        ));
    }
    format!(
        "cut before event {} (durable up to {}); {}",
        group.cut,
        timeline.durable(group.cut),
        lost.join("; ")
    )
}

impl Findings {
    fn new(window: &Window, timeline: &Timeline) -> Self {
        let events = timeline.events().get(window.events.clone()).unwrap_or_default();
        let flushes = events.iter().filter(|event| **event == Event::Flush).count();
        Self {
            verb: window.verb,
            events: (events.len() - flushes, flushes),
            states: 0,
            damaged: 0,
            wanted: Wanted::default(),
            equal: 0,
            booting: BTreeMap::new(),
            boots: 0,
            failures: Vec::new(),
            failed: 0,
            took: Duration::ZERO,
        }
    }

    /// Adds something that is wrong.
    pub fn failure(&mut self, state: &str, error: &anyhow::Error) {
        self.failed += 1;
        let told = format!("{}: {error:#}\n    {state}", self.verb.name());
        if self.failures.is_empty() {
            println!("         {told}");
        }
        if self.failures.len() < TOLD {
            self.failures.push(told);
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let (writes, flushes) = self.events;
        let booting: Vec<_> =
            self.booting.iter().map(|(version, count)| format!("{count} {version}")).collect();
        format!(
            "{:9} {writes:6} writes, {flushes:4} flushes; {:6} states ({}; {} with damage), {:5} more equal to one of them, {:3} failed, {:.0} s",
            self.verb.name(),
            self.states,
            booting.join(", "),
            self.damaged,
            self.equal,
            self.failed,
            self.took.as_secs_f32()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_of_states_the_first_is_booted_and_no_other() {
        let mut wanted = Wanted::all();
        assert!(wanted.take(&[], Verb::Install, "v1") && !wanted.take(&[], Verb::Install, "v1"));
        assert!(wanted.take_finished(Verb::Install) && !wanted.take_finished(Verb::Install));
        assert!(!wanted.take(&[], Verb::Confirm, "v2") && wanted.take(&[], Verb::Confirm, "v1"));
        let damaged = |damage| Damaged { path: "EFI".to_owned(), folder: true, damage };
        let both = [damaged(Damage::Broken), damaged(Damage::EndsEarly)];
        assert!(!wanted.take(&both, Verb::Install, NOTHING));
        assert!(wanted.take(&both, Verb::Gc, "v1") && !wanted.take(&both, Verb::Gc, "v1"));
        assert!(!Wanted::default().take(&both, Verb::Gc, "v1"));
    }
}
