//! The QEMU process: started so that it never outlives the test.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::host;

/// A command to start, and where to send the child.
type Order = (Command, Sender<std::io::Result<Child>>);

/// A running QEMU. It is killed when this is dropped, and also when this process dies.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, which must not fork, in the folder `dir`. What it says goes to the file `log`.
    pub fn start(command: &Command, dir: &Path, log: &Path) -> Result<Self> {
        let said = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut tied = host::command("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        tied.current_dir(dir).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = spawn(tied).with_context(|| format!("cannot start `{}`", host::command_line(command)))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end; `None` if that takes longer than `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if start.elapsed() > patience {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it without further ado.
    pub fn kill(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts children from one thread that lives as long as the process: a parent-death signal is sent when the
/// *thread* that forked ends (prctl(2), `PR_SET_PDEATHSIG`), and a machine may outlive the thread of its test.
fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                drop(answer.send(command.spawn()));
            }
        });
        sender
    });
    let (sender, answer) = channel();
    spawner.send((command, sender)).ok().context("the spawning thread is gone")?;
    Ok(answer.recv().context("the spawning thread is gone")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(program: &str, argument: &str) -> Process {
        let mut command = Command::new(program);
        command.arg(argument);
        Process::start(&command, Path::new("/"), Path::new("/dev/null")).unwrap()
    }

    fn sleeper() -> Process {
        start("sleep", "100")
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = sleeper();
        let pid = process.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let mut process = thread::spawn(sleeper).join().unwrap();
        assert_eq!(process.wait(Duration::from_millis(200)), None);
    }

    #[test]
    fn waiting_for_a_process_returns_its_status() {
        let mut process = start("false", "");
        assert_eq!(process.wait(Duration::from_secs(10)).and_then(|status| status.code()), Some(1));
    }
}
