//! Boots the composed image without Bootwright several times, and shows how long each boot took, in seconds on
//! the clock and of the processor. With `--lines` also when each line of the console came.

#[path = "../tests/plain_disk/mod.rs"]
mod plain_disk;

use std::{
    thread,
    time::{Duration, Instant},
};

use bootwright_conformance::{
    cargo::build_guest_agent,
    images::{Cache, Recipe, compose},
    vm::{Disk, Vm},
};

fn main() -> anyhow::Result<()> {
    let recipe = Recipe::debian().guest_agent(build_guest_agent()?);
    let image = compose(&recipe, &Cache::in_target_dir()?)?;
    let scratch = tempfile::tempdir()?;
    let disk = scratch.path().join("disk.img");
    plain_disk::make(&image, &recipe.kernel_arguments, scratch.path(), &disk)?;
    let mut vm = Vm::builder("times").disk(Disk::overlay(&disk)).build()?;
    let lines = std::env::args().any(|argument| argument == "--lines");
    for boot in 1..=3 {
        let before = vm.serial_text().len();
        let start = Instant::now();
        vm.power_on()?;
        let mut shown = before;
        loop {
            let text = vm.serial_text();
            if let Some(end) = text.get(shown..).and_then(|new| new.rfind('\n')).map(|at| shown + at + 1) {
                for line in text.get(shown..end).unwrap_or_default().lines() {
                    if lines {
                        println!("{:6.2}  {line}", start.elapsed().as_secs_f32());
                    }
                }
                shown = end;
            }
            if vm.wait_ready(Duration::from_millis(20)).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        vm.expected_failure();
        let processor = vm.process_id().map(processor_seconds).transpose()?.unwrap_or_default();
        println!(
            "boot {boot}: ready after {:.1} s, {processor:.1} s of the processor",
            start.elapsed().as_secs_f32()
        );
        vm.power_cut();
    }
    Ok(())
}

/// User and system time of a process (proc(5), fields 14 and 15 of `stat`), at the usual 100 ticks a second.
fn processor_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}
