//! From options to units of work: which cases run on which machine.

use std::{fmt, sync::Arc};

use anyhow::{Result, ensure};

use super::{Ci, Factories, KnownDefect, Matrix, Options};
use crate::suite::{
    Case, Cell, Demand, Firmware, Points, Reuse, Setting, Tier, WorldFactory, all_cases, fakes, loops,
};

/// Cases that run one after the other: on one machine, or a single one.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Makes its machine.
    pub factory: Arc<dyn WorldFactory>,
    /// On this cell.
    pub cell: Cell,
    /// In this order.
    pub cases: Vec<Case>,
    /// Of these, what is known not to hold yet.
    pub known: Vec<KnownDefect>,
    /// How many points of a verb sweeps try, if somebody said so.
    pub points: Option<Points>,
}

/// What is to be run.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In a stable order.
    pub units: Vec<Unit>,
    /// What nobody runs this time, one unit for each cell: cases that were asked for, and that the matrix does not pin for each change. They
    /// are shown as ignored.
    pub left_out: Vec<Unit>,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.factory.tier().name(), self.cell)
    }
}

impl Plan {
    /// Everything that `options` ask for.
    ///
    /// # Errors
    /// If that is nothing: a run without a case would be green without having shown anything.
    pub fn make(options: &Options, factories: &Factories, matrix: Option<&Matrix>) -> Result<Self> {
        let cases: Vec<_> = all_cases().into_iter().filter(|case| options.wants_case(case)).collect();
        let mut plan = Self::default();
        for tier in options.tiers() {
            for factory in factories.iter().filter(|factory| factory.tier() == tier) {
                for cell in cells(tier, options, matrix) {
                    plan.add(Arc::clone(factory), cell, &cases, options, matrix);
                }
            }
        }
        if let Some((i, n)) = options.shard {
            keep_part(&mut plan.units, i, n);
            keep_part(&mut plan.left_out, i, n);
        }
        if options.ci {
            // The longest first: otherwise one of them runs alone at the end.
            plan.units.sort_by_key(|unit| !unit.cases.iter().any(|case| case.name == WHOLE_LIFE));
        }
        let nothing = !plan.units.iter().any(|unit| !unit.cases.is_empty());
        ensure!(!nothing || plan.left_out.is_empty(), "nothing would be run: what matches is {LEFT_OUT}");
        ensure!(!nothing, "no case matches: nothing would be run");
        Ok(plan)
    }

    fn add(
        &mut self,
        factory: Arc<dyn WorldFactory>,
        cell: Cell,
        cases: &[Case],
        options: &Options,
        matrix: Option<&Matrix>,
    ) {
        let tier = factory.tier();
        let (pinned, others) = pinned(tier, &cell, cases, options, matrix);
        let known = matrix.map(|matrix| matrix.defects(tier, &cell)).unwrap_or_default();
        let empty = Unit { factory, cell, cases: Vec::new(), known, points: options.points(tier) };
        self.units.extend(split(&empty, &pinned));
        if !others.is_empty() {
            self.left_out.push(Unit { cases: others, ..empty });
        }
    }

    /// How many cases there are to run.
    pub fn cases(&self) -> usize {
        self.units.iter().map(|unit| unit.cases.len()).sum()
    }
}

/// The i-th of n parts of about the same length, counted from 1.
fn keep_part(units: &mut Vec<Unit>, i: usize, n: usize) {
    let mut place = 0;
    units.retain(|_| {
        place += 1;
        (place - 1) % n == i - 1
    });
}

/// Cells of a tier: fakes have their own; the others those of the matrix, or else of the registry.
fn cells(tier: Tier, options: &Options, matrix: Option<&Matrix>) -> Vec<Cell> {
    let mut cells = match (tier, matrix) {
        (Tier::Fakes, _) => fakes::cells(),
        (_, Some(matrix)) => matrix.all(),
        (_, None) => loops::cells(),
    };
    cells.retain(|cell| options.wants_cell(cell));
    cells
}

/// What a cell goes through where the matrix pins only a short life: it is installed, boots, is upgraded, and rolled back.
const SHORT_LIFE: &str = "rollback::previous_deployment_becomes_default";

/// The whole lifecycle, in as few boots as show it.
const WHOLE_LIFE: &str = "life::from_the_install_to_the_last_upgrade";

/// A short life with a partition that the loader reads without its journal.
const WITH_BOOT_PARTITION: &str = "disks::a_boot_partition_with_a_journal";

/// Short lives where nothing verifies what is read.
const ON_BTRFS: &str = "disks::a_btrfs_root_that_is_not_verified";
const ON_XFS: &str = "disks::an_xfs_root_that_is_not_verified";

/// The lives that the matrix pins, each with what it is called in a table.
pub const LIVES: [(&str, &str); 5] = [
    (WHOLE_LIFE, "whole life"),
    (SHORT_LIFE, "upgrade and rollback"),
    (WITH_BOOT_PARTITION, "upgrade and rollback with a boot partition"),
    (ON_BTRFS, "upgrade and rollback on btrfs"),
    (ON_XFS, "upgrade and rollback on xfs"),
];

/// Why a case of [`Plan::left_out`] is not run, and how it would be.
pub(super) const LEFT_OUT: &str =
    "left out by --ci, which boots what the matrix pins: --tier vm without --ci runs every case";

/// Whether a run for each change (`--ci`, in all tiers) tries this case on some cell: on fakes or on loop disks, or in virtual machines as one of
/// the lives that the matrix pins.
pub fn tried_for_each_change(case: &Case) -> bool {
    let offers = |tier: Tier, demand: &Demand| match demand {
        Demand::Tier(property) => tier.properties().contains(property),
        Demand::Firmware(firmware) => *firmware == Firmware::Uefi,
        // Some pair has each capability, and some lacks it.
        _ => true,
    };
    let tries = |tier| case.demands.iter().all(|demand| offers(tier, demand));
    LIVES.iter().any(|(life, _)| *life == case.name) || tries(Tier::Fakes) || tries(Tier::Loop)
}

/// The cases of a cell, and those that are left out: none, unless the run is that of each change and the matrix pins one life.
fn pinned(
    tier: Tier,
    cell: &Cell,
    cases: &[Case],
    options: &Options,
    matrix: Option<&Matrix>,
) -> (Vec<Case>, Vec<Case>) {
    let length = matrix.filter(|_| options.ci && tier == Tier::Vm).and_then(|matrix| matrix.ci(cell));
    let wanted = |case: &&Case| length.is_none_or(|length| life(length) == Some(case.name));
    cases.iter().partition(wanted)
}

/// The case that the matrix pins with this word.
fn life(ci: Ci) -> Option<&'static str> {
    match ci {
        Ci::OnDemand => None,
        Ci::Short => Some(SHORT_LIFE),
        Ci::BootPartition => Some(WITH_BOOT_PARTITION),
        Ci::Btrfs => Some(ON_BTRFS),
        Ci::Xfs => Some(ON_XFS),
        Ci::Full => Some(WHOLE_LIFE),
    }
}

/// So many cases take turns on one machine that is restored between them: few, so that several threads have work to the end.
const TURNS: usize = 8;

/// One unit for each case; or, where machines are used again, one for cases that can take turns.
fn split(empty: &Unit, cases: &[Case]) -> Vec<Unit> {
    let unit = |cases: &[Case]| Unit { cases: cases.to_vec(), ..empty.clone() };
    let reuse = empty.factory.reuse();
    let (together, alone): (Vec<Case>, Vec<Case>) = cases.iter().partition(|case| takes_turns(reuse, case));
    let turns = if reuse == Reuse::AsItIs { together.len().max(1) } else { TURNS };
    together.chunks(turns).chain(alone.chunks(1)).map(unit).collect()
}

/// Whether a case can follow another on the same machine.
pub(super) fn takes_turns(reuse: Reuse, case: &Case) -> bool {
    match reuse {
        Reuse::No => false,
        Reuse::Restored => case.setting != Setting::Blank,
        Reuse::AsItIs => case.setting == Setting::Running,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::runner::built_in;

    fn plan(arguments: &[&str]) -> Result<Plan> {
        let options = Options::try_parse_from([&["suite"], arguments].concat()).unwrap();
        Plan::make(&options, &built_in(), None)
    }

    #[test]
    fn shards_cut_the_plan_into_parts_that_make_the_whole() {
        let whole = plan(&["--tier", "fakes"]).unwrap().cases();
        let part = |shard| plan(&["--tier", "fakes", "--shard", shard]).unwrap().cases();
        assert_eq!(part("1/3") + part("2/3") + part("3/3"), whole);
    }

    /// With the matrix of this project.
    fn pinned_plan(arguments: &[&str]) -> Result<Plan> {
        let options =
            Options::try_parse_from([&["suite", "--tier", "vm", "--ci"], arguments].concat()).unwrap();
        Plan::make(&options, &built_in(), Some(&Matrix::of_this_project().unwrap()))
    }

    #[test]
    fn what_the_matrix_does_not_pin_is_left_out_and_does_not_vanish() {
        let plan = pinned_plan(&[]).unwrap();
        let units = || plan.units.iter().chain(&plan.left_out);
        for cell in Matrix::of_this_project().unwrap().all() {
            let of_cell = units().filter(|unit| unit.cell == cell).flat_map(|unit| &unit.cases);
            let mut names: Vec<_> = of_cell.map(|case| case.name).collect();
            names.sort_unstable();
            let mut all: Vec<_> = all_cases().iter().map(|case| case.name).collect();
            all.sort_unstable();
            assert_eq!(names, all, "{cell}");
        }
    }

    #[test]
    fn each_case_that_is_left_out_is_shown_by_one_shard() {
        let shown = |plan: Plan| plan.left_out.iter().map(|unit| unit.cases.len()).sum::<usize>();
        let part = |shard| shown(pinned_plan(&["--shard", shard]).unwrap());
        assert_eq!(part("1/2") + part("2/2"), shown(pinned_plan(&[]).unwrap()));
    }

    #[test]
    fn a_run_in_which_everything_is_left_out_says_how_to_run_it() {
        let refused = pinned_plan(&["--case", "trial::"]).unwrap_err().to_string();
        assert!(refused.contains("without --ci"), "{refused}");
    }

    #[test]
    fn the_lives_that_the_matrix_pins_are_cases_that_exist() {
        for (life, _) in LIVES {
            assert!(all_cases().iter().any(|case| case.name == life), "{life}");
        }
    }

    #[test]
    fn the_longest_lives_of_a_change_begin_first() {
        let plan = pinned_plan(&[]).unwrap();
        let names: Vec<_> = plan.units.iter().map(|unit| unit.cases[0].name).collect();
        let whole = names.iter().take_while(|name| **name == WHOLE_LIFE).count();
        let short = |name: &str| LIVES.iter().any(|(life, _)| *life == name && name != WHOLE_LIFE);
        assert!(whole > 0 && names[whole..].iter().all(|name| short(name)), "{names:?}");
    }

    #[test]
    fn a_run_of_nothing_is_an_error() {
        assert!(plan(&["--case", "no such case"]).unwrap_err().to_string().contains("nothing"));
        assert!(plan(&["--tier", "fakes", "--backend", "none"]).is_err());
    }
}
