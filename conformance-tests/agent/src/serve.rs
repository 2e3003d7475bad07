//! Carries out the requests of the host, one after the other.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::protocol::{Decoder, Message, send};

/// Says ready, then answers requests from `input` on `output` until `input` fails.
///
/// An end of file is not an end here: a virtio port reports one whenever no host is connected.
/// `idle` is called then, and its `false` ends the loop.
///
/// # Errors
/// When the port cannot be read or written any more.
pub fn serve(
    mut input: impl Read,
    mut output: impl Write,
    boot_id: &str,
    mut idle: impl FnMut() -> bool,
) -> io::Result<()> {
    send(&mut output, 0, &Message::Ready { boot_id: boot_id.to_owned() })?;
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some((sequence, message)) = decoder.next_message() {
            if let Some(answer) = carry_out(message) {
                send(&mut output, sequence, &answer)?;
            }
        }
        match input.read(&mut buffer) {
            Ok(0) if idle() => {}
            Ok(0) => return Ok(()),
            Ok(count) => decoder.push(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits a little while no host is connected, and goes on forever.
pub fn wait_for_host() -> bool {
    thread::sleep(Duration::from_millis(50));
    true
}

fn carry_out(message: Message) -> Option<Message> {
    let result = match message {
        Message::Run { command } => run(&command),
        Message::Write { path, mode, bytes } => write(Path::new(&path), mode, &bytes),
        Message::Read { path } => fs::read(path).map(|stdout| finished(0, stdout, Vec::new())),
        Message::Ready { .. } | Message::Finished { .. } | Message::Failed { .. } => return None,
    };
    Some(result.unwrap_or_else(|error| Message::Failed { reason: error.to_string() }))
}

fn finished(status: i32, stdout: Vec<u8>, stderr: Vec<u8>) -> Message {
    Message::Finished { status, stdout, stderr }
}

fn run(command: &str) -> io::Result<Message> {
    let output = Command::new("/bin/sh").args(["-c", command]).stdin(Stdio::null()).output()?;
    let signal = || output.status.signal().map_or(-1, |signal| 128 + signal);
    let status = output.status.code().unwrap_or_else(signal);
    Ok(finished(status, output.stdout, output.stderr))
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<Message> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(finished(0, Vec::new(), Vec::new()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    const BOOT: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    /// Sends `requests` to an agent on the other end of a socket, and returns everything that it says.
    fn conversation(requests: &[Message]) -> Vec<(u32, Message)> {
        let (mut host, guest) = UnixStream::pair().unwrap();
        let agent = thread::spawn(move || serve(&guest, &guest, BOOT, || false));
        for (sequence, request) in (1..).zip(requests) {
            send(&mut host, sequence, request).unwrap();
        }
        host.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        host.read_to_end(&mut said).unwrap();
        agent.join().unwrap().unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&said);
        std::iter::from_fn(|| decoder.next_message()).collect()
    }

    #[test]
    fn the_first_word_is_ready_with_the_boot_id() {
        assert_eq!(conversation(&[]), [(0, Message::Ready { boot_id: BOOT.into() })]);
    }

    #[test]
    fn a_command_returns_its_status_and_both_outputs() {
        let said = conversation(&[Message::Run { command: "echo out; echo err >&2; exit 3".into() }]);
        assert_eq!(said[1], (1, finished(3, b"out\n".to_vec(), b"err\n".to_vec())));
    }

    #[test]
    fn a_command_that_a_signal_ends_has_the_status_a_shell_would_give() {
        let said = conversation(&[Message::Run { command: "kill -9 $$".into() }]);
        assert_eq!(said[1], (1, finished(137, Vec::new(), Vec::new())));
    }

    #[test]
    fn a_written_file_reads_back_with_its_mode() {
        let folder = std::env::temp_dir().join(format!("bootwright-agent-{}", std::process::id()));
        let path = folder.join("deep/file").to_str().unwrap().to_owned();
        let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        let said = conversation(&[
            Message::Write { path: path.clone(), mode: 0o750, bytes: bytes.clone() },
            Message::Read { path: path.clone() },
        ]);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(said[2], (2, finished(0, bytes, Vec::new())));
        assert_eq!(mode, 0o750);
    }

    #[test]
    fn a_file_that_is_not_there_is_a_failure_and_not_an_empty_file() {
        let said = conversation(&[Message::Read { path: "/no/such/file".into() }]);
        assert!(matches!(&said[1], (1, Message::Failed { .. })), "{said:?}");
    }
}
