//! What was measured: medians and ratios for people, every figure for programs.

use std::{collections::BTreeMap, fmt, fs, num::NonZeroUsize};

use serde::Serialize;

use super::{
    boot::{Boot, Start},
    measure::Measured,
    tools::{Tool, Tools},
};

/// Goals, which are shown beside what came out: ratio of the time, bytes of memory, seconds.
const RATIO: f64 = 1.0;
const PEAK: u64 = 300_000_000;
const NO_CHANGE: f64 = 0.3;

/// What is imported, and into what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// An image into an empty folder.
    First,
    /// The same once more.
    Again,
    /// No import at all: is there anything to do?
    NoChange,
    /// The next version, which shares layers.
    Next,
    /// One very large layer into an empty folder.
    Large,
}

impl Scenario {
    /// Whether the store is empty before.
    pub const fn is_first(self) -> bool {
        matches!(self, Self::First | Self::Large)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::First => "import into an empty store",
            Self::Again => "the same image again",
            Self::NoChange => "look for a change, find none",
            Self::Next => "the next version after it",
            Self::Large => "one layer of 1.5 GiB",
        }
    }
}

/// Figures and the conditions under which they came about.
#[derive(Debug, Serialize)]
pub struct Report {
    programs: String,
    machine: String,
    rounds: NonZeroUsize,
    /// Processes that wanted to run, averaged over a minute: before and after. More than there are processors is a busy machine.
    load: [Option<f64>; 2],
    image: String,
    large_image: Option<String>,
    imports: BTreeMap<Scenario, BTreeMap<Tool, Vec<Measured>>>,
    boots: BTreeMap<String, BTreeMap<Start, Vec<Boot>>>,
}

impl Report {
    /// An empty report.
    pub fn start(tools: &Tools, rounds: NonZeroUsize) -> Self {
        Self {
            programs: tools.described.clone(),
            machine: machine(),
            rounds,
            load: [load(), None],
            image: String::new(),
            large_image: None,
            imports: BTreeMap::new(),
            boots: BTreeMap::new(),
        }
    }

    /// Says which image is imported.
    pub fn image(&mut self, description: String) {
        self.image = description;
    }

    /// Says which image has the large layer.
    pub fn large_image(&mut self, description: String) {
        self.large_image = Some(description);
    }

    /// Adds an import.
    pub fn add(&mut self, scenario: Scenario, tool: Tool, measured: Measured) {
        self.imports.entry(scenario).or_default().entry(tool).or_default().push(measured);
    }

    /// Adds a boot.
    pub fn boot(&mut self, loader: &str, start: Start, boot: Boot) {
        self.boots.entry(loader.to_owned()).or_default().entry(start).or_default().push(boot);
    }

    /// Notes the conditions at the end.
    pub fn finished(&mut self) -> &Self {
        self.load[1] = self.load[1].or_else(load);
        self
    }

    fn write_imports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<44}{:>10}{:>10}{:>12}{:>9}",
            "imports (medians)", "wall", "(least)", "processor", "peak"
        )?;
        for (scenario, tools) in &self.imports {
            writeln!(f, "{}", scenario.title())?;
            for (tool, runs) in tools {
                Summary::of(runs).write(f, *tool)?;
            }
            if let (Some(ours), Some(theirs)) = (tools.get(&Tool::Bootwright), tools.get(&Tool::Cfsctl)) {
                write_ratio(f, &Summary::of(ours), &Summary::of(theirs))?;
            }
        }
        Ok(())
    }

    fn write_boots(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.boots.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<44}{:>10}{:>10}{:>12}",
            "power-on to multi-user (medians)", "wall", "(least)", "processor"
        )?;
        for (loader, starts) in &self.boots {
            for (start, boots) in starts {
                let wall = boots.iter().map(|boot| boot.multi_user);
                let before = median(boots.iter().map(|boot| boot.before_kernel));
                let name = match start {
                    Start::First => format!("{loader}, first boot"),
                    Start::Second => format!("{loader}, second boot"),
                };
                writeln!(
                    f,
                    "{name:<44}{:>8.1} s{:>8.1} s{:>10.1} s   {before:.1} s of it before the kernel",
                    median(wall.clone()),
                    wall.fold(f64::INFINITY, f64::min),
                    median(boots.iter().map(|boot| boot.processor)),
                )?;
            }
        }
        Ok(())
    }

    fn write_goals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = |scenario: Scenario| self.imports.get(&scenario)?.get(&Tool::Bootwright);
        let theirs = |scenario: Scenario| self.imports.get(&scenario)?.get(&Tool::Cfsctl);
        writeln!(f, "\ngoals")?;
        if let (Some(a), Some(b)) = (ours(Scenario::First), theirs(Scenario::First)) {
            let (a, b) = (Summary::of(a), Summary::of(b));
            let (wall, processor) = (a.wall / b.wall, a.processor / b.processor);
            let met = verdict(wall <= RATIO && processor <= RATIO);
            writeln!(
                f,
                "  import not slower than cfsctl: {wall:.2} of its time, {processor:.2} of its processor time: {met}"
            )?;
        }
        let peak = self.imports.values().filter_map(|tools| tools.get(&Tool::Bootwright)).flatten();
        if let Some(peak) = peak.map(|run| run.peak).max() {
            let met = verdict(peak < PEAK);
            writeln!(f, "  peak memory below {} MB: {:.0} MB: {met}", PEAK / 1_000_000, megabytes(peak))?;
        }
        if let Some(runs) = ours(Scenario::NoChange) {
            let wall = Summary::of(runs).wall;
            writeln!(f, "  no change below {NO_CHANGE} s: {wall:.3} s: {}", verdict(wall < NO_CHANGE))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.programs)?;
        writeln!(f, "{}", self.machine)?;
        let now = self.load[1].or_else(load);
        let shown = |load: Option<f64>| load.map_or_else(|| "?".to_owned(), |load| format!("{load:.1}"));
        writeln!(f, "load {} before, {} after; {} rounds", shown(self.load[0]), shown(now), self.rounds)?;
        writeln!(f, "image {}", self.image)?;
        if let Some(large) = &self.large_image {
            writeln!(f, "large image {large}")?;
        }
        self.write_imports(f)?;
        self.write_boots(f)?;
        self.write_goals(f)
    }
}

/// Several runs of one thing.
struct Summary {
    wall: f64,
    least: f64,
    processor: f64,
    peak: u64,
}

impl Summary {
    fn of(runs: &[Measured]) -> Self {
        Self {
            wall: median(runs.iter().map(|run| run.wall)),
            least: runs.iter().map(|run| run.wall).fold(f64::INFINITY, f64::min),
            processor: median(runs.iter().map(|run| run.processor)),
            peak: runs.iter().map(|run| run.peak).max().unwrap_or_default(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, tool: Tool) -> fmt::Result {
        let Self { wall, least, processor, .. } = self;
        let peak = megabytes(self.peak);
        writeln!(f, "  {tool:<42}{wall:>8.3} s{least:>8.3} s{processor:>10.2} s{peak:>6.0} MB")
    }
}

fn write_ratio(f: &mut fmt::Formatter<'_>, ours: &Summary, theirs: &Summary) -> fmt::Result {
    let (wall, least) = (ours.wall / theirs.wall, ours.least / theirs.least);
    let processor = ours.processor / theirs.processor;
    let peak = megabytes(ours.peak) / megabytes(theirs.peak);
    writeln!(f, "  {:<42}{wall:>8.2}  {least:>8.2}  {processor:>10.2}  {peak:>6.2}", "ratio")
}

/// The value in the middle, or the mean of the two there; NaN of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

#[expect(clippy::cast_precision_loss, reason = "for people, who read three digits")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, NonZeroUsize::get);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{processors} × {model}, Linux {}", kernel.trim())
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_run_that_was_disturbed() {
        assert!((median([1.0, 90.0, 1.5].into_iter()) - 1.5).abs() < 1e-9);
        assert!((median([1.0, 2.0].into_iter()) - 1.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn the_peak_shown_is_the_worst_of_all_rounds() {
        let run = |peak| Measured { wall: 1.0, processor: 1.0, peak };
        assert_eq!(Summary::of(&[run(5), run(9), run(7)]).peak, 9);
    }
}
