//! The QEMU machine protocol: JSON lines on a socket that control the machine from outside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// QEMU answers at once; a longer silence means that it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a QEMU process.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Takes over a connected socket: reads the greeting, and leaves negotiation mode.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let lines = BufReader::new(stream.try_clone()?);
        let mut qmp = Self { stream, lines };
        qmp.read_line().context("QEMU sent no greeting")?;
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments, and returns its result.
    pub fn execute(&mut self, command: &str) -> Result<Value> {
        writeln!(self.stream, "{}", json!({ "execute": command }))?;
        loop {
            let line = self.read_line().with_context(|| format!("no answer to {command}"))?;
            if let Some(answer) = answer(&line)? {
                return Ok(answer);
            }
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            bail!("QEMU closed the connection");
        }
        Ok(line)
    }
}

/// The result in a line; `None` for an event, which may come in between.
fn answer(line: &str) -> Result<Option<Value>> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("QEMU said {line:?}"))?;
    if let Some(error) = value.get("error") {
        bail!("QEMU refused: {}", error.get("desc").and_then(Value::as_str).unwrap_or("no reason given"));
    }
    Ok(value.get("return").cloned())
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, thread};

    use super::*;

    #[test]
    fn events_between_command_and_answer_are_skipped() {
        let (host, mut qemu) = UnixStream::pair().unwrap();
        qemu.write_all(
            b"{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"RESET\"}\n{\"return\":{\"running\":true}}\n",
        )
        .unwrap();
        let mut qmp = Qmp::new(host).unwrap();
        assert_eq!(qmp.execute("query-status").unwrap(), json!({ "running": true }));
    }

    #[test]
    fn a_refusal_carries_the_reason() {
        assert!(
            answer(r#"{"error":{"class":"X","desc":"no such command"}}"#)
                .unwrap_err()
                .to_string()
                .contains("no such")
        );
        assert!(answer("garbage").is_err());
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        let (host, mut qemu) = UnixStream::pair().unwrap();
        let peer = thread::spawn(move || {
            qemu.write_all(b"{\"QMP\":{}}\n").unwrap();
            qemu.read_exact(&mut [0; 10]).unwrap();
        });
        assert!(Qmp::new(host).is_err());
        peer.join().unwrap();
    }
}
