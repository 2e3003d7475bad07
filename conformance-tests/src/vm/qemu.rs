//! QEMU's command line for a machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bootwright_guest_agent::PORT_NAME;

use super::{accel::Accel, disk::Drive, recorded::Recorded};
use crate::host;

/// Socket of the guest agent's port, in the machine's folder.
///
/// QEMU runs in that folder and gets the bare name: the path of a socket is limited to 107 bytes
/// (unix(7), `sun_path`), and that of a target folder is not.
pub(super) const AGENT_SOCKET: &str = "agent.sock";
/// Socket of the machine protocol, in the machine's folder.
pub(super) const QMP_SOCKET: &str = "qmp.sock";

/// Everything that QEMU is told about a machine.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub dir: PathBuf,
    pub accel: Accel,
    pub processors: u32,
    pub memory_mib: u32,
    /// UEFI; QEMU's own BIOS without it.
    pub firmware_code: Option<PathBuf>,
    pub drives: Vec<Drive>,
    pub watchdog: bool,
    /// Takes the place of the variable store, if it has one, and is the first disk.
    pub recorded: Option<Recorded>,
    pub extra: Vec<String>,
}

impl Settings {
    pub fn vars(&self) -> PathBuf {
        self.dir.join("vars.fd")
    }

    pub fn serial_log(&self) -> PathBuf {
        self.dir.join("serial.log")
    }

    pub fn qemu_log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    /// The command that runs the machine under the harness.
    pub fn command(&self) -> Command {
        let mut command = self.hardware();
        command.args(["-display", "none"]);
        // The log is appended to, so that it has all boots of the machine.
        let log = self.serial_log();
        command.arg("-chardev").arg(format!("file,id=serial,path={},append=on", escaped(&log)));
        command.args(["-serial", "chardev:serial"]);
        command.arg("-qmp").arg(format!("unix:{QMP_SOCKET},server=on,wait=off"));
        command.arg("-chardev").arg(format!("socket,id=agent,path={AGENT_SOCKET},server=on,wait=off"));
        command.args(["-device", "virtio-serial-pci"]);
        command.arg("-device").arg(format!("virtserialport,chardev=agent,name={PORT_NAME}"));
        command
    }

    /// The same machine for a human: the serial console on the terminal, and no agent.
    pub fn interactive_command(&self) -> Command {
        let mut command = self.hardware();
        // `-nographic` alone would attach no console: `-nodefaults` takes away what it redirects.
        command.args(["-display", "none", "-serial", "mon:stdio"]);
        command
    }

    /// Processor, memory, firmware and disks. No disk has a `bootindex`: with one, the firmware would
    /// rewrite `BootOrder` at each start, and that variable is the business of the boot loader under test.
    fn hardware(&self) -> Command {
        let mut command = host::command("qemu-system-x86_64");
        command.args(["-nodefaults", "-no-user-config"]).args(self.accel.arguments());
        match &self.recorded {
            Some(recorded) => command.args(recorded.arguments()),
            None => command.args(["-machine", "q35"]),
        };
        command.args(["-smp", &self.processors.to_string(), "-m", &self.memory_mib.to_string()]);
        if let Some(code) = &self.firmware_code {
            let (code, vars) = (escaped(code), escaped(&self.vars()));
            command.arg("-drive").arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={code}"));
            if self.recorded.as_ref().is_none_or(|recorded| recorded.variables_size == 0) {
                command.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={vars}"));
            }
        }
        command.args(["-device", "virtio-rng-pci"]);
        if self.watchdog {
            command.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        let taken = usize::from(self.recorded.is_some());
        if self.recorded.is_some() {
            command.args(Recorded::device());
        }
        for (index, drive) in self.drives.iter().enumerate() {
            add_drive(&mut command, index + taken, drive);
        }
        command.args(&self.extra);
        command
    }
}

fn add_drive(command: &mut Command, index: usize, drive: &Drive) {
    let (format, file) = (drive.format, escaped(&drive.file));
    let read_only = if drive.read_only { "on" } else { "off" };
    // The guest's flushes are not passed on: the host outlives the machine, and its disk is slow.
    command.arg("-drive").arg(format!(
        "if=none,id=drive{index},format={format},readonly={read_only},cache.no-flush=on,discard=unmap,file={file}"
    ));
    command.arg("-device").arg(format!("virtio-blk-pci,drive=drive{index},serial={}", drive.serial));
}

/// A file name inside a comma-separated option: commas are doubled (qemu(1), "-drive").
pub(super) fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let drive =
            |file: &str, read_only| Drive { file: file.into(), format: "raw", read_only, serial: "s".into() };
        Settings {
            dir: "/vm".into(),
            accel: Accel::Tcg,
            processors: 1,
            memory_mib: 1024,
            firmware_code: Some("/code.fd".into()),
            drives: vec![drive("/a,b.img", false), drive("/c.img", true)],
            watchdog: true,
            recorded: None,
            extra: vec!["-name".into(), "x".into()],
        }
    }

    #[test]
    fn commas_in_file_names_do_not_end_an_option() {
        assert!(host::command_line(&settings().command()).contains("file=/a,,b.img"));
    }

    #[test]
    fn the_firmware_keeps_its_own_boot_order() {
        assert!(!host::command_line(&settings().command()).contains("bootindex"));
    }

    #[test]
    fn variables_that_are_not_recorded_are_in_a_file_of_their_own() {
        let recorded = |variables_size| {
            let [file, log] = ["/disk", "/log"].map(PathBuf::from);
            let recorded = Some(Recorded { file, disk_size: 1 << 20, variables_size, log });
            host::command_line(&Settings { recorded, ..settings() }.command()).contains("vars.fd")
        };
        assert!(recorded(0) && !recorded(1 << 16));
    }

    #[test]
    fn only_the_machine_under_the_harness_has_the_agent_port() {
        assert!(host::command_line(&settings().command()).contains(PORT_NAME));
        let by_hand = host::command_line(&settings().interactive_command());
        assert!(!by_hand.contains(PORT_NAME) && by_hand.contains("-serial mon:stdio"), "{by_hand}");
    }

    #[test]
    fn a_read_only_disk_is_attached_as_one() {
        let line = host::command_line(&settings().command());
        assert!(line.contains("id=drive1,format=raw,readonly=on"), "{line}");
        assert!(line.contains("id=drive0,format=raw,readonly=off"), "{line}");
    }
}
