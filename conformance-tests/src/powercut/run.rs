//! The command: records lives, checks their states, boots some, and sums up.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};
use clap::Parser;

use super::{
    boot,
    check::{self, Amount, Bootable, Findings},
    installation,
    life::{self, Life, Verb},
    root_file_system::RootFileSystem,
    scratch::Scratch,
};
use crate::{
    images::Cache,
    runner::{Matrix, kernel_format},
    suite::{Cell, Firmware},
    system::{KernelFormat, Systems},
};

/// Cuts the power of machines at every flush and in between, and checks that each is left with a system that boots.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask power-cuts", bin_name = "cargo xtask power-cuts")]
pub struct Options {
    /// Storage backends; all if not given
    #[arg(long)]
    backend: Vec<String>,
    /// Bootloaders; all if not given
    #[arg(long)]
    boot: Vec<String>,
    /// Kernel formats; both if not given
    #[arg(long, value_parser = kernel_format)]
    format: Vec<KernelFormat>,
    /// What starts the bootloader; UEFI and BIOS if not given
    #[arg(long)]
    firmware: Vec<Firmware>,
    /// Types of the root file system
    #[arg(long, value_name = "TYPE", default_value = "ext4")]
    root: Vec<RootFileSystem>,
    /// Verbs to look at; all if not given
    #[arg(long)]
    verb: Vec<Verb>,
    /// States of each verb in each combination
    #[arg(long, default_value_t = 300)]
    states: usize,
    /// Machines to boot for each verb in each combination
    #[arg(long, default_value_t = 2)]
    boots: usize,
    /// Another choice of states for another seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Options {
    fn cells(&self) -> Result<Vec<Cell>> {
        let wanted = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        let mut cells = Matrix::of_this_project()?.all();
        cells.retain(|cell| {
            wanted(&self.backend, &cell.backend)
                && wanted(&self.boot, &cell.bootloader)
                && (self.format.is_empty() || self.format.contains(&cell.format))
                && (self.firmware.is_empty() || self.firmware.contains(&cell.firmware))
        });
        Ok(cells)
    }

    fn verbs(&self) -> Vec<Verb> {
        Verb::all().filter(|verb| self.verb.is_empty() || self.verb.contains(verb)).collect()
    }
}

/// Runs with the arguments of this process, and says whether all states were good. To be started by
/// [`in_own_namespace`](super::scratch::in_own_namespace).
pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let start = Instant::now();
    let mut systems = Systems::new(Cache::in_target_dir()?)?;
    let mut all = Vec::new();
    for cell in options.cells()? {
        systems = systems.for_backend(&cell.backend)?;
        for root in &options.root {
            let name = format!("{cell}, {}", root.name());
            let findings = one(&systems, &cell, *root, options).with_context(|| name.clone())?;
            all.push((name, findings));
        }
    }
    println!("\nseed {}, {:.0} s", options.seed, start.elapsed().as_secs_f32());
    Ok(sum_up(&all))
}

fn one(systems: &Systems, cell: &Cell, root: RootFileSystem, options: &Options) -> Result<Vec<Findings>> {
    let mut findings = Vec::new();
    let (installing, mut others): (Vec<_>, Vec<_>) =
        options.verbs().into_iter().partition(|verb| *verb == Verb::Install);
    if !installing.is_empty() {
        let scratch = Scratch::make()?;
        let life = installation::record(systems, cell, root, &scratch.path())?;
        findings.extend(look_at(&life, &scratch, &installing, options)?);
    }
    if !others.is_empty() {
        let (scratch, asked) = (Scratch::make()?, others.clone());
        // Finalisation tells what both versions are.
        others.extend([Verb::Upgrade, Verb::Finalise]);
        let life = life::record(systems, cell, root, &others, &scratch.path())?;
        findings.extend(look_at(&life, &scratch, &asked, options)?);
    }
    Ok(findings)
}

fn look_at(life: &Life, scratch: &Scratch, verbs: &[Verb], options: &Options) -> Result<Vec<Findings>> {
    let amount = Amount { states: options.states, boots: options.boots, seed: options.seed };
    let (mut findings, bootable) = check::check(life, scratch, verbs, amount)?;
    for state in &bootable {
        boot_one(life, state, &mut findings);
    }
    Ok(findings)
}

fn boot_one(life: &Life, state: &Bootable, findings: &mut [Findings]) {
    let result = boot::boot(life, state);
    let Some(findings) = findings.iter_mut().find(|findings| findings.verb == state.verb) else { return };
    findings.boots += 1;
    if let Err(error) = result {
        findings.failure(&format!("booted: {}", state.name), &error);
    }
}

/// A table of everything and what is wrong; whether nothing is.
fn sum_up(all: &[(String, Vec<Findings>)]) -> bool {
    let (mut states, mut boots, mut failed) = (0, 0, 0);
    println!(
        "| combination | verb | writes | flushes | states | boots | failed |\n|---|---|---|---|---|---|---|"
    );
    for (cell, findings) in all {
        for one in findings {
            let (writes, flushes) = one.events;
            let (verb, count) = (one.verb.name(), one.states);
            println!("| {cell} | {verb} | {writes} | {flushes} | {count} | {} | {} |", one.boots, one.failed);
            (states, boots, failed) = (states + one.states, boots + one.boots, failed + one.failed);
        }
    }
    for (cell, findings) in all {
        for failure in findings.iter().flat_map(|one| &one.failures) {
            println!("\n{cell}: {failure}");
        }
    }
    println!("\n{states} states checked, {boots} booted, {failed} failed");
    failed == 0 && states > 0
}
