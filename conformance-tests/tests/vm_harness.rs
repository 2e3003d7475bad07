//! The harness itself, on a machine that boots the composed image without Bootwright.
//!
//! One test, since a boot takes long: the machine goes through everything that a lifecycle case relies on.

mod plain_disk;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use bootwright_conformance::{
    cargo::build_guest_agent,
    images::{Cache, Recipe, compose},
    vm::{Disk, Vm},
};

const BOOT: Duration = Duration::from_secs(180);
/// Enough for the units that are stopped before one that stays.
const SHUTDOWN: Duration = Duration::from_secs(15);
const COMMAND: Duration = Duration::from_secs(30);

#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn a_machine_boots_runs_commands_and_keeps_its_disk_through_every_kind_of_restart() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (disk, folder) = (scratch.path().join("disk.img"), scratch.path().join("folder"));
    let cache = Cache::in_target_dir()?.with_progress(|line| println!("{line}"));
    let recipe = Recipe::debian().guest_agent(build_guest_agent()?);
    let image = compose(&recipe, &cache)?;
    plain_disk::make(&image, &recipe.kernel_arguments, scratch.path(), &disk)?;
    fs::create_dir(&folder)?;
    fs::write(folder.join("hello"), "from the host")?;

    let start = Instant::now();
    let took = |what: &str| println!("{:6.1} s  {what}", start.elapsed().as_secs_f32());
    let mut vm = Vm::builder("harness").disk(Disk::overlay(&disk)).folder("host-folder", &folder).start()?;
    let first = vm.wait_ready(BOOT)?;
    took("ready after power-on");

    let text = |vm: &mut Vm, command: &str| -> Result<String> {
        Ok(vm.run(command, COMMAND)?.success()?.stdout_text())
    };
    assert_eq!(text(&mut vm, "uname -r")?, image.kernel_version()?);
    assert_eq!(vm.run("exit 3", COMMAND)?.status, 3);
    let mounted = vm.mount_folder("host-folder", COMMAND)?;
    assert_eq!(vm.read_file(&format!("{mounted}/hello"), COMMAND)?, b"from the host");
    let state = vm.run("systemctl is-system-running --wait", COMMAND)?;
    took("systemd is done");
    let failed = text(&mut vm, "systemctl list-units --failed --no-legend --plain")?;
    assert_eq!((state.stdout_text().as_str(), failed.as_str()), ("running", ""));
    vm.put_file("/var/kept", b"bytes", 0o600, COMMAND)?;
    let second = vm.reboot_and_wait(BOOT)?;
    took("ready after a reboot");
    assert_ne!(first, second);
    assert_eq!(vm.read_file("/var/kept", COMMAND)?, b"bytes");

    text(
        &mut vm,
        "systemd-run --unit stays --property TimeoutStopSec=infinity --property 'ExecStop=sleep 31415' sleep infinity",
    )?;
    let stuck = format!("{:#}", vm.reboot_and_wait(SHUTDOWN).unwrap_err());
    assert!(stuck.contains("sleep 31415"), "{stuck}");
    vm.expected_failure();
    took("told what keeps it from going down");

    vm.reset()?;
    let third = vm.wait_next_boot(&second, BOOT)?;
    took("ready after a reset");
    text(&mut vm, "sync")?;
    vm.power_cut();
    vm.power_on()?;
    assert_ne!(vm.wait_ready(BOOT)?, third);
    took("ready after a power cut");
    assert_eq!(vm.read_file("/var/kept", COMMAND)?, b"bytes");
    vm.shutdown(BOOT)?;
    took("off");
    assert!(!vm.is_on());

    let dir = vm.dir().to_owned();
    drop(vm);
    assert!(!dir.exists(), "the folder of a machine without failures is removed");
    Ok(())
}
