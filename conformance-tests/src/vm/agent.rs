//! The host's side of the conversation with the guest agent.

use std::{
    fmt, io,
    io::Read as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use bootwright_guest_agent::protocol::{Decoder, Message, send};

/// Identifies one boot of the guest's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BootId(String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a command in the guest left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// Exit status; 128 plus the signal if one ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The output, if the command ended with status 0.
    ///
    /// # Errors
    /// With the status and both outputs in the message, if it did not.
    pub fn success(self) -> Result<Self> {
        let (out, err) = (self.stdout_text(), self.stderr_text());
        ensure!(self.status == 0, "`{}` ended with status {}\n{out}\n{err}", self.command, self.status);
        Ok(self)
    }

    /// Standard output as text, without white space at its end.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error as text, without white space at its end.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// A connection to the port of a machine, which stays through resets of the guest.
#[derive(Debug)]
pub(super) struct Agent {
    stream: UnixStream,
    decoder: Decoder,
    boot: Option<BootId>,
    sequence: u32,
}

impl Agent {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), boot: None, sequence: 0 }
    }

    /// The boot that the agent last said ready in.
    pub fn boot(&self) -> Option<&BootId> {
        self.boot.as_ref()
    }

    /// Waits until an agent is ready in another boot than `previous`.
    pub fn wait_ready(&mut self, previous: Option<&BootId>, patience: Duration) -> Result<BootId> {
        let deadline = Instant::now() + patience;
        if let Some(boot) = self.boot.as_ref().filter(|boot| Some(*boot) != previous) {
            return Ok(boot.clone());
        }
        loop {
            let Some((_, message)) = self.receive(deadline)? else {
                bail!("the guest agent was not ready within {} s", patience.as_secs());
            };
            if let Message::Ready { boot_id } = message {
                let boot = BootId(boot_id);
                self.boot = Some(boot.clone());
                if Some(&boot) != previous {
                    return Ok(boot);
                }
            }
        }
    }

    /// Forgets that an agent was ever ready: the next one to be waited for may be in the same boot, as after a restart of user space alone.
    pub fn forget(&mut self) {
        self.boot = None;
    }

    /// Sends a request and waits for its answer.
    pub fn request(&mut self, request: &Message, patience: Duration) -> Result<Message> {
        ensure!(self.boot.is_some(), "the guest agent is not ready yet; wait for it first");
        let deadline = Instant::now() + patience;
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.set_write_timeout(Some(patience))?;
        send(&mut self.stream, self.sequence, request)?;
        loop {
            match self.receive(deadline)? {
                None => bail!("no answer from the guest within {} s", patience.as_secs()),
                Some((_, Message::Ready { boot_id })) => {
                    self.boot = Some(BootId(boot_id));
                    bail!("the guest restarted before it answered");
                }
                // An answer to an earlier request, whose deadline had passed.
                Some((sequence, _)) if sequence != self.sequence => {}
                Some((_, Message::Failed { reason })) => bail!("the guest could not do it: {reason}"),
                Some((_, answer)) => return Ok(answer),
            }
        }
    }

    /// The next message; `None` when the deadline passes.
    fn receive(&mut self, deadline: Instant) -> Result<Option<(u32, Message)>> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(message) = self.decoder.next_message() {
                return Ok(Some(message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the virtual machine ended"),
                Ok(count) => self.decoder.push(buffer.get(..count).unwrap_or_default()),
                Err(error) if retryable(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn retryable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, thread};

    use bootwright_guest_agent::serve;

    use super::*;

    const FIRST: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
    const SECOND: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    fn ready(stream: &mut UnixStream, boot: &str) {
        send(stream, 0, &Message::Ready { boot_id: boot.into() }).unwrap();
    }

    fn run(command: &str) -> Message {
        Message::Run { command: command.into() }
    }

    #[test]
    fn a_command_goes_to_a_real_agent_and_back() {
        let (host, guest) = UnixStream::pair().unwrap();
        let served = thread::spawn(move || serve(&guest, &guest, FIRST, || false));
        let mut agent = Agent::new(host);
        agent.wait_ready(None, LONG).unwrap();
        let answer = agent.request(&run("echo hello"), LONG).unwrap();
        assert_eq!(answer, Message::Finished { status: 0, stdout: b"hello\n".to_vec(), stderr: Vec::new() });
        drop(agent);
        served.join().unwrap().unwrap();
    }

    #[test]
    fn a_reset_in_the_middle_of_an_answer_is_an_error_and_the_new_boot_is_known() {
        let (host, mut guest) = UnixStream::pair().unwrap();
        let mut agent = Agent::new(host);
        ready(&mut guest, FIRST);
        let first = agent.wait_ready(None, LONG).unwrap();
        let mut frame = Vec::new();
        send(&mut frame, 1, &Message::Finished { status: 0, stdout: vec![1; 500], stderr: Vec::new() })
            .unwrap();
        guest.write_all(&frame[..100]).unwrap();
        ready(&mut guest, SECOND);
        let error = agent.request(&run("true"), LONG).unwrap_err();
        assert!(error.to_string().contains("restarted"), "{error}");
        assert_eq!(agent.wait_ready(Some(&first), LONG).unwrap().to_string(), SECOND);
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_one() {
        let (host, mut guest) = UnixStream::pair().unwrap();
        let mut agent = Agent::new(host);
        ready(&mut guest, FIRST);
        agent.wait_ready(None, LONG).unwrap();
        assert!(agent.request(&run("slow"), SHORT).unwrap_err().to_string().contains("no answer"));
        let answer = |status| Message::Finished { status, stdout: Vec::new(), stderr: Vec::new() };
        send(&mut guest, 1, &answer(1)).unwrap();
        send(&mut guest, 2, &answer(2)).unwrap();
        assert_eq!(agent.request(&run("quick"), LONG).unwrap(), answer(2));
    }

    #[test]
    fn a_machine_that_ends_is_told_from_one_that_is_slow() {
        let (host, guest) = UnixStream::pair().unwrap();
        let mut agent = Agent::new(host);
        assert!(agent.wait_ready(None, SHORT).unwrap_err().to_string().contains("not ready"));
        drop(guest);
        assert!(agent.wait_ready(None, LONG).unwrap_err().to_string().contains("ended"));
    }

    #[test]
    fn a_failed_command_shows_both_outputs() {
        let output =
            Output { command: "x".into(), status: 4, stdout: b"out".to_vec(), stderr: b"err".to_vec() };
        let error = output.success().unwrap_err().to_string();
        assert!(error.contains("status 4") && error.contains("out") && error.contains("err"), "{error}");
    }
}
