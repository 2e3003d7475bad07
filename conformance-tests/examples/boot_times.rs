//! Boots the composed image without Bootwright several times, and shows how long each boot took, in seconds on
//! the clock and of the processor. With `--lines` also when each line of the console came; with `--keep` the
//! machine stays, and the command that boots it by hand is shown.

#[path = "../tests/plain_disk/mod.rs"]
mod plain_disk;

use std::time::{Duration, Instant};

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
    let mut vm = Vm::builder("times").disk(Disk::copy(&disk)).build()?;
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let lines = given("--lines");
    if given("--keep") {
        vm.keep();
        println!("{}", vm.qemu_command_line());
    }
    for boot in 1..=3 {
        let mut console = Console { shown: vm.serial_text().len(), lines, start: Instant::now() };
        vm.power_on()?;
        while vm.wait_ready(Duration::from_millis(20)).is_err() {
            vm.expected_failure();
            console.show(&vm);
        }
        let processor = vm.process_id().map(processor_seconds).transpose()?.unwrap_or_default();
        println!("boot {boot}: ready after {:.1} s, {processor:.1} s of the processor", console.seconds());
        console.start = Instant::now();
        vm.run("systemctl --no-block poweroff", Duration::from_secs(20))?;
        while vm.wait_off(Duration::from_millis(20)).is_err() {
            vm.expected_failure();
            console.show(&vm);
        }
        console.show(&vm);
        println!("boot {boot}: off after {:.1} s", console.seconds());
    }
    Ok(())
}

/// The part of the console's log that was shown already.
struct Console {
    shown: usize,
    lines: bool,
    start: Instant,
}

impl Console {
    fn seconds(&self) -> f32 {
        self.start.elapsed().as_secs_f32()
    }

    /// Shows the lines that were completed since the last call.
    fn show(&mut self, vm: &Vm) {
        let text = vm.serial_text();
        let new = text.get(self.shown..).unwrap_or_default();
        let complete = new.rfind('\n').and_then(|end| new.get(..=end)).unwrap_or_default();
        for line in complete.lines().filter(|_| self.lines) {
            println!("{:6.2}  {line}", self.seconds());
        }
        self.shown += complete.len();
    }
}

/// User and system time of a process (proc(5), fields 14 and 15 of `stat`), at the usual 100 ticks a second.
fn processor_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}
