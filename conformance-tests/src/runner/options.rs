//! What a person can ask of the runner.

use std::path::PathBuf;

use clap::Parser;

use crate::{
    suite::{Case, Cell, Points, Tier},
    system::KernelFormat,
};

/// Command line of the runner.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "bootwright-conformance",
    about = "Runs the conformance suite on the plugins in this program"
)]
pub struct Options {
    /// Only this storage backend; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub backend: Vec<String>,
    /// Only this bootloader; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub boot: Vec<String>,
    /// Only this kernel format: split or unified.
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<KernelFormat>,
    /// Only this tier: fakes, loop or vm; may be given several times [default: fakes and loop].
    #[arg(long, value_name = "TIER", value_parser = tier)]
    pub tier: Vec<Tier>,
    /// Only cases whose name contains this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub case: Vec<String>,
    /// How many run at once [default: one for each processor; on loop disks, without virtual machines, three, because each waits for its disk].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// At how many of the changes that a verb makes power is cut, and faults are injected: a number, or `all`, which takes an hour on real plugins,
    /// and also tries all pairs of two cuts [default: 4 on fakes, 3 on loop disks].
    #[arg(long, value_name = "N")]
    pub points: Option<Points>,
    /// Only the i-th of n parts of equal length, counted from 1.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(usize, usize)>,
    /// As it is run for each change: on fakes all points, and all pairs of two; in virtual machines what the matrix pins, which is the whole
    /// lifecycle on some cells and a short life on others, while all other cases are shown as ignored.
    #[arg(long)]
    pub ci: bool,
    /// Where report.html, report.xml and report.json go [default: target/conformance].
    #[arg(long, value_name = "FOLDER")]
    pub report: Option<PathBuf>,
    /// Runs units for another process of this program, which names them on standard input.
    #[arg(long, hide = true)]
    pub worker: bool,
}

impl Options {
    /// Those that this program was started with; ends it, with a message, if they are none.
    pub fn from_command_line() -> Self {
        Self::parse()
    }

    /// Tiers to run, the cheapest first.
    pub fn tiers(&self) -> Vec<Tier> {
        let asked = |tier: &Tier| match self.tier.as_slice() {
            [] => *tier != Tier::Vm,
            some => some.contains(tier),
        };
        Tier::ALL.into_iter().filter(asked).collect()
    }

    /// How many units run at once.
    pub fn jobs(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let waits = self.tiers().contains(&Tier::Loop) && !self.tiers().contains(&Tier::Vm);
        let each = if waits { 3 } else { 1 };
        self.jobs.unwrap_or(processors * each).max(1)
    }

    /// How many points of a verb sweeps try in this tier, unless the tier decides.
    pub fn points(&self, tier: Tier) -> Option<Points> {
        self.points.or((self.ci && tier == Tier::Fakes).then_some(Points::All))
    }

    /// Whether a cell is asked for.
    pub fn wants_cell(&self, cell: &Cell) -> bool {
        let named = |asked: &[String], name: &String| asked.is_empty() || asked.contains(name);
        named(&self.backend, &cell.backend)
            && named(&self.boot, &cell.bootloader)
            && self.format.is_none_or(|format| format == cell.format)
    }

    /// Whether a case is asked for.
    pub fn wants_case(&self, case: &Case) -> bool {
        self.case.is_empty() || self.case.iter().any(|text| case.name.contains(text.as_str()))
    }
}

fn tier(text: &str) -> Result<Tier, String> {
    let found = Tier::ALL.into_iter().find(|tier| tier.name() == text);
    found.ok_or_else(|| "known: fakes, loop, vm".to_owned())
}

/// The kernel format of this name.
pub(crate) fn format(text: &str) -> Result<KernelFormat, String> {
    let all = [KernelFormat::Split, KernelFormat::Unified];
    all.into_iter().find(|format| format.name() == text).ok_or_else(|| "known: split, unified".to_owned())
}

/// `2/4`
fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err("write it as 1/4, 2/4, …".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!(shard("2/4"), Ok((2, 4)));
        for bad in ["0/4", "5/4", "x", "1/0", "1"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
