//! The part of the demo that plays in the virtual machine.

use anyhow::{Result, ensure};
use bootwright_conformance::{lifecycle::Guest, vm::Vm};

use super::show::Show;

/// Boots version 1, upgrades to version 2, and rolls back.
pub fn live(show: &mut Show, mut vm: Vm) -> Result<()> {
    let mut guest = show.step("boot version 1 in a virtual machine under UEFI", |show| {
        show.waiting("the firmware, the kernel, systemd", || {
            vm.power_on()?;
            Guest::attach(vm)
        })
    })?;
    show.step("ask it: bootwright status", |show| status(show, &mut guest))?;
    show.step("upgrade to version 2", |show| {
        guest.offer("v2")?;
        show.quote(&command(show, &mut guest, "bootwright upgrade --check")?);
        show.quote(&command(show, &mut guest, "bootwright upgrade")?);
        Ok(())
    })?;
    show.step("reboot into version 2", |show| reboot(show, &mut guest, "v2"))?;
    show.step("ask again", |show| status(show, &mut guest))?;
    show.step("roll back", |show| {
        show.quote(&command(show, &mut guest, "bootwright rollback")?);
        Ok(())
    })?;
    show.step("reboot into version 1", |show| reboot(show, &mut guest, "v1"))?;
    show.step("ask a last time, and switch off", |show| {
        status(show, &mut guest)?;
        guest.vm().shutdown(bootwright_conformance::lifecycle::BOOT)
    })
}

fn command(show: &Show, guest: &mut Guest, command: &str) -> Result<String> {
    show.say(&format!("# {command}"));
    show.waiting(command, || guest.sh(command))
}

fn status(show: &Show, guest: &mut Guest) -> Result<()> {
    show.waiting("systemd finishes the boot", || guest.settle())?;
    show.quote(&command(show, guest, "bootwright status")?);
    Ok(())
}

fn reboot(show: &Show, guest: &mut Guest, version: &str) -> Result<()> {
    show.waiting("shutdown, firmware, kernel, systemd", || guest.reboot())?;
    let status = guest.status()?;
    let booted = status.version("booted").unwrap_or("nothing of ours");
    ensure!(booted == version, "{booted} runs, {version} was expected");
    show.say(&format!("version {booted} runs"));
    Ok(())
}
