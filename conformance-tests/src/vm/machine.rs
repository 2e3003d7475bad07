//! A virtual machine: power, commands in the guest, and what is left when it ends.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bootwright_guest_agent::protocol::Message;

use super::{
    agent::{Agent, BootId, Output},
    builder::VmBuilder,
    disk::Drive,
    process::Process,
    qemu::{AGENT_SOCKET, QMP_SOCKET, Settings},
    qmp::Qmp,
};
use crate::host;

/// Time for QEMU itself to start, stop or answer; the guest has no part in it.
const QEMU_PATIENCE: Duration = Duration::from_secs(20);

/// What the guest's service manager still has to do, and each process with its command line, state and stack in the kernel.
const PROCESSES: &str = r#"timeout 5 systemctl list-jobs --no-pager
for p in /proc/[0-9]*; do
    line=$(tr '\0' ' ' <$p/cmdline)
    [ -z "$line" ] || { echo "${p#/proc/} $(grep ^State $p/status) $line"; cat $p/stack; }
done 2>&1"#;

/// A machine with disks and firmware variables of its own. Made by [`Vm::builder`].
///
/// Dropping it ends QEMU. Its folder is removed then, unless a call returned an error, the thread panics, or
/// [`Vm::keep`] was called; the end of the serial log is printed if something went wrong.
#[derive(Debug)]
pub struct Vm {
    name: String,
    settings: Settings,
    running: Option<Running>,
    keep: bool,
    failed: bool,
}

#[derive(Debug)]
struct Running {
    process: Process,
    qmp: Qmp,
    agent: Agent,
}

impl Vm {
    /// Starts the description of a machine; `name` appears in the name of its folder.
    pub fn builder(name: &str) -> VmBuilder {
        VmBuilder::new(name)
    }

    pub(super) fn new(name: String, settings: Settings, keep: bool) -> Self {
        Self { name, settings, running: None, keep, failed: false }
    }

    pub(super) fn add_drive(&mut self, drive: Drive) {
        self.settings.drives.push(drive);
    }

    /// Switches the machine on.
    ///
    /// # Errors
    /// When it is on already, or QEMU does not start; the message has what QEMU said.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "{} is switched on already", self.name);
        let result = start(&self.settings);
        self.running = Some(self.noted(result)?);
        Ok(())
    }

    /// Waits until the agent is ready, and returns which boot it is. Returns at once if it is ready already.
    ///
    /// # Errors
    /// When that takes longer than `within`, or the machine ends; the message has the end of the serial log.
    pub fn wait_ready(&mut self, within: Duration) -> Result<BootId> {
        self.with_agent(|agent| agent.wait_ready(None, within))
    }

    /// Waits until the agent is ready in another boot than `previous`: after a reset, a panic or a reboot.
    pub fn wait_next_boot(&mut self, previous: &BootId, within: Duration) -> Result<BootId> {
        let next = self.with_agent(|agent| agent.wait_ready(Some(previous), within));
        next.map_err(|error| match self.processes() {
            Some(processes) => {
                error.context(format!("the guest did not go down; what runs there:\n{processes}"))
            }
            None => error,
        })
    }

    /// What runs in the guest and, of each process that waits in the kernel, where: for messages, as the agent answers until the very end of
    /// a shutdown. `None` if it does not.
    fn processes(&mut self) -> Option<String> {
        let request = Message::Run { command: PROCESSES.to_owned() };
        let running = self.running.as_mut()?;
        match running.agent.request(&request, QEMU_PATIENCE) {
            Ok(Message::Finished { stdout, .. }) => Some(String::from_utf8_lossy(&stdout).into_owned()),
            _ => None,
        }
    }

    /// The boot that the agent was last ready in; `None` if it was not yet, since the machine was switched on.
    pub fn boot_id(&self) -> Option<BootId> {
        self.running.as_ref().and_then(|running| running.agent.boot().cloned())
    }

    /// Runs `command` with `sh -c` as root in the guest, and waits for its end.
    ///
    /// A command that leaves a process in the background must redirect its output, or it is waited for.
    ///
    /// # Errors
    /// When there is no answer within `within`, or the guest restarts or ends before it answers. A status
    /// other than 0 is not an error here: see [`Output::success`].
    pub fn run(&mut self, command: &str, within: Duration) -> Result<Output> {
        let request = Message::Run { command: command.to_owned() };
        match self.request(&request, within).with_context(|| format!("in the guest: `{command}`"))? {
            Message::Finished { status, stdout, stderr } => {
                Ok(Output { command: command.to_owned(), status, stdout, stderr })
            }
            other => bail!("the guest answered {other:?} to a command"),
        }
    }

    /// Writes a file in the guest, with its parent folders if they are missing. It is not synced to disk.
    pub fn put_file(&mut self, path: &str, bytes: &[u8], mode: u32, within: Duration) -> Result<()> {
        let request = Message::Write { path: path.to_owned(), mode, bytes: bytes.to_vec() };
        self.request(&request, within).with_context(|| format!("cannot write {path} in the guest"))?;
        Ok(())
    }

    /// Reads a file of the guest.
    pub fn read_file(&mut self, path: &str, within: Duration) -> Result<Vec<u8>> {
        let request = Message::Read { path: path.to_owned() };
        match self.request(&request, within).with_context(|| format!("cannot read {path} in the guest"))? {
            Message::Finished { stdout, .. } => Ok(stdout),
            other => bail!("the guest answered {other:?} to the reading of {path}"),
        }
    }

    /// Where the guest has a folder that was attached under this label, once it is mounted.
    pub fn folder_in_guest(label: &str) -> String {
        format!("/run/bootwright-folders/{label}")
    }

    /// Mounts a folder that was attached with [`VmBuilder::folder`], and returns where the guest has it.
    pub fn mount_folder(&mut self, label: &str, within: Duration) -> Result<String> {
        let target = Self::folder_in_guest(label);
        let mount = format!(
            "mountpoint -q {target} || {{ mkdir -p {target} && mount -o ro /dev/disk/by-id/virtio-{label} {target}; }}"
        );
        let result = self.run(&mount, within).and_then(Output::success);
        self.noted(result)?;
        Ok(target)
    }

    /// Reboots the guest in an orderly way, and waits until the agent is ready in the new boot.
    pub fn reboot_and_wait(&mut self, within: Duration) -> Result<BootId> {
        let start = Instant::now();
        let before = self.wait_ready(within)?;
        self.request_end("systemctl --no-block reboot", within);
        self.wait_next_boot(&before, within.saturating_sub(start.elapsed()))
    }

    /// Restarts the guest's user space, and waits until the agent is ready in it. The kernel stays.
    pub fn soft_reboot_and_wait(&mut self, within: Duration) -> Result<BootId> {
        let start = Instant::now();
        self.wait_ready(within)?;
        self.request_end("systemctl --no-block soft-reboot", within);
        if let Some(running) = &mut self.running {
            running.agent.forget();
        }
        self.wait_ready(within.saturating_sub(start.elapsed()))
    }

    /// Shuts the guest down in an orderly way, and waits until the machine is off.
    pub fn shutdown(&mut self, within: Duration) -> Result<()> {
        let start = Instant::now();
        self.wait_ready(within)?;
        self.request_end("systemctl --no-block poweroff", within);
        self.wait_off(within.saturating_sub(start.elapsed()))
    }

    /// Waits until the guest has switched the machine off by itself.
    pub fn wait_off(&mut self, within: Duration) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        if running.process.wait(within).is_none() {
            let log = self.recent_serial();
            let result =
                Err(anyhow::anyhow!("{} was still on after {} s\n{log}", self.name, within.as_secs()));
            return self.noted(result);
        }
        self.running = None;
        Ok(())
    }

    /// Ends the machine at once, as if its plug were pulled. What the guest had written but not flushed
    /// stays on the disk, unlike on real hardware: QEMU has handed it to the host.
    pub fn power_cut(&mut self) {
        if let Some(mut running) = self.running.take() {
            // Asked first, so that a qcow2 overlay is closed properly; killed if it does not obey.
            drop(running.qmp.execute("quit"));
            if running.process.wait(QEMU_PATIENCE).is_none() {
                running.process.kill();
            }
        }
    }

    /// Presses the reset button: the guest is not asked, QEMU and its disks stay.
    pub fn reset(&mut self) -> Result<()> {
        let running = self.running.as_mut().context("the machine is off")?;
        running.qmp.execute("system_reset").map(drop)
    }

    /// Whether the machine is on.
    pub fn is_on(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.process.ended().is_none())
    }

    /// The process id of QEMU while the machine is on: `/proc` has its use of time and memory.
    pub fn process_id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.process.id())
    }

    /// Everything that the machine wrote to its serial console, over all its boots.
    pub fn serial_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.settings.serial_log()).unwrap_or_default()).into_owned()
    }

    /// Waits until the serial console has shown `text`.
    pub fn wait_serial(&mut self, text: &str, within: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.serial_text().contains(text) {
            if start.elapsed() > within || !self.is_on() {
                let log = self.recent_serial();
                let state = if self.is_on() { "on" } else { "off" };
                let result =
                    Err(anyhow::anyhow!("{text:?} did not appear on the console; it is {state}\n{log}"));
                return self.noted(result);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The command line that boots this machine by hand, with the serial console on the terminal.
    pub fn qemu_command_line(&self) -> String {
        host::command_line(&self.settings.interactive_command())
    }

    /// The machine's folder: disks, firmware variables, logs.
    pub fn dir(&self) -> &Path {
        &self.settings.dir
    }

    /// The machine's firmware variables; to be read only while it is off.
    pub fn vars_file(&self) -> PathBuf {
        self.settings.vars()
    }

    /// The file behind a disk, by its place among the disks; to be read only while the machine is off.
    pub fn disk_file(&self, index: usize) -> Option<&Path> {
        self.settings.drives.get(index).map(|drive| drive.file.as_path())
    }

    /// Leaves the machine's folder when this is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Forgets an error that a test expected, so that it does not count as a reason to keep the folder.
    pub fn expected_failure(&mut self) {
        self.failed = false;
    }

    /// Sends a command after which the guest may be gone before it can answer.
    fn request_end(&mut self, command: &str, within: Duration) {
        let request = Message::Run { command: command.to_owned() };
        if let Some(running) = &mut self.running {
            // Whether it worked shows in what the machine does next.
            drop(running.agent.request(&request, within.min(QEMU_PATIENCE)));
        }
    }

    fn request(&mut self, request: &Message, within: Duration) -> Result<Message> {
        self.with_agent(|agent| agent.request(request, within))
    }

    fn with_agent<T>(&mut self, act: impl FnOnce(&mut Agent) -> Result<T>) -> Result<T> {
        let result = match &mut self.running {
            Some(running) => act(&mut running.agent),
            None => Err(anyhow::anyhow!("{} is switched off", self.name)),
        };
        let result = result.with_context(|| self.recent_serial());
        self.noted(result)
    }

    /// Remembers that something went wrong.
    fn noted<T>(&mut self, result: Result<T>) -> Result<T> {
        self.failed |= result.is_err();
        result
    }

    fn recent_serial(&self) -> String {
        let log = fs::read(self.settings.serial_log()).unwrap_or_default();
        format!("the console of {} ended with:\n{}", self.name, host::tail(&log, 25))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.running = None;
        if self.failed || thread::panicking() {
            let dir = self.settings.dir.display();
            eprintln!("{}\nthe machine's folder is {dir}", self.recent_serial());
        } else if !self.keep {
            drop(fs::remove_dir_all(&self.settings.dir));
        }
    }
}

fn start(settings: &Settings) -> Result<Running> {
    for name in [QMP_SOCKET, AGENT_SOCKET] {
        let stale = settings.dir.join(name);
        if let Err(error) = fs::remove_file(&stale) {
            ensure!(error.kind() == io::ErrorKind::NotFound, "cannot remove {}: {error}", stale.display());
        }
    }
    let mut process = Process::start(&settings.command(), &settings.dir, &settings.qemu_log())?;
    let qmp = connect(QMP_SOCKET, &mut process, settings)?;
    let agent = connect(AGENT_SOCKET, &mut process, settings)?;
    Ok(Running { process, qmp: Qmp::new(qmp)?, agent: Agent::new(agent) })
}

/// Connects to a socket of QEMU as soon as it is there.
fn connect(name: &str, process: &mut Process, settings: &Settings) -> Result<UnixStream> {
    let start = Instant::now();
    // By way of the open folder, since the whole path may be too long for a socket address.
    let dir = File::open(&settings.dir)?;
    let socket = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    loop {
        let error = match UnixStream::connect(&socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if process.ended().is_some() || start.elapsed() > QEMU_PATIENCE {
            let said = fs::read(settings.qemu_log()).unwrap_or_default();
            bail!("QEMU did not start ({error}); it said:\n{}", host::tail(&said, 20));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
