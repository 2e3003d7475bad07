//! Other programs: the one place that starts them.
//!
//! ```no_run
//! # async fn format() -> bootwright_core::Result<()> {
//! use bootwright_core::process::Tool;
//! Tool::new("mkfs.ext4").package("e2fsprogs").args(["-O", "verity", "/dev/vdb3"]).run().await?;
//! # Ok(())
//! # }
//! ```

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread::ScopedJoinHandle,
};

use crate::error::{Error, ErrorKind, IoContext, Result};

/// More than any program that we ask says; a runaway one must not fill the memory.
const OUTPUT_LIMIT: u64 = 16 << 20;

/// How much of what a program said on its standard error goes into a message.
const TAIL: usize = 2000;

/// Where administrative programs are; root's `PATH` after a plain `su` lacks these on Debian.
const SYSTEM_FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// A program to be run, with its arguments.
///
/// It runs without a shell, with nothing on its standard input unless given, and with messages in English (`LC_ALL=C`), so that they can be told apart.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is run"]
pub struct Tool {
    program: OsString,
    package: Option<String>,
    fedora_package: Option<String>,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    stdin: Option<Vec<u8>>,
    output_limit: u64,
}

/// What a program said before it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error, at most 2,000 bytes, without control characters but for line ends.
    pub stderr: String,
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Tool {
    /// A program by name, looked up in `PATH` and then in the system's folders, or by path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            package: None,
            fedora_package: None,
            args: Vec::new(),
            variables: Vec::new(),
            stdin: None,
            output_limit: OUTPUT_LIMIT,
        }
    }

    /// Names the package that brings the program, for the hint when it is missing.
    pub fn package(mut self, name: impl Into<String>) -> Self {
        self.package = Some(name.into());
        self
    }

    /// The package's name on Fedora, where it differs from Debian's.
    pub fn fedora_package(mut self, name: impl Into<String>) -> Self {
        self.fedora_package = Some(name.into());
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Gives it this on its standard input.
    pub fn stdin(mut self, content: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(content.into());
        self
    }

    /// Accepts at most `bytes` on its standard output (16 MiB if not said).
    pub fn output_limit(mut self, bytes: u64) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Runs it to its end and demands success.
    ///
    /// # Errors
    /// Those of [`Tool::output`], and `Io` with the end of its standard error if it did not succeed.
    pub async fn run(self) -> Result<Output> {
        blocking(move || self.run_blocking()).await
    }

    /// Runs it to its end, whatever that is. Dropping the future does not stop the program.
    ///
    /// # Errors
    /// `Unsupported` if it is not installed, with the package to install; `InvalidInput` if it says more than the limit; `Permission` or `Io` as the system says.
    pub async fn output(self) -> Result<Output> {
        blocking(move || self.output_blocking()).await
    }

    /// [`Tool::run`] for callers that may block.
    pub fn run_blocking(&self) -> Result<Output> {
        let output = self.output_blocking()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(self.failure(&output))
    }

    /// The error that an unsuccessful end is.
    pub fn failure(&self, output: &Output) -> Error {
        let said = output.stderr.trim();
        let said = if said.is_empty() { "it said nothing" } else { said };
        Error::new(ErrorKind::Io, format!("{} ended with {}: {said}", self.name(), output.status))
            .with_context("command", self.command_line())
    }

    /// [`Tool::output`] for callers that may block.
    pub fn output_blocking(&self) -> Result<Output> {
        tracing::debug!(command = %self.command_line(), "run");
        let mut child = self.command().spawn().map_err(|error| self.not_started(error))?;
        let output = self.attend(&mut child);
        if output.is_err() {
            // Not left behind: it may be waiting for somebody to read what it says.
            let _ = child.kill();
            let _ = child.wait();
        }
        output
    }

    /// Runs it to its end, gives it on its standard input what `feed` writes, and demands success. May block.
    ///
    /// # Errors
    /// Those of [`Tool::run`], and those of `feed`: where both went wrong, the one that did so first.
    pub fn run_fed_blocking(&self, feed: impl FnOnce(&mut dyn Write) -> Result<()> + Send) -> Result<Output> {
        tracing::debug!(command = %self.command_line(), "run, and feed");
        let mut command = self.command();
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(|error| self.not_started(error))?;
        let stdin = child.stdin.take();
        let (output, result) = std::thread::scope(|scope| {
            let feeder = stdin.map(|pipe| scope.spawn(move || Pipe::feed(pipe, feed)));
            let output = self.attend(&mut child);
            if output.is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
            (output, feeder.and_then(|feeder| feeder.join().ok()).unwrap_or(Fed::All))
        });
        match (output?, result) {
            (_, Fed::Failed(error)) => Err(error),
            (output, Fed::Unwanted(error)) if output.status.success() => Err(error),
            (output, _) if output.status.success() => Ok(output),
            (output, _) => Err(self.failure(&output)),
        }
    }

    fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that starts programs")]
        let mut command = Command::new(&self.program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let separator = if path.is_empty() { "" } else { ":" };
        let path: OsString =
            [path.as_os_str(), OsStr::new(separator), OsStr::new(SYSTEM_FOLDERS)].into_iter().collect();
        command.args(&self.args).env("PATH", path).env("LC_ALL", "C");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Feeds it and listens to both its outputs at once: a program that waits on one of them must not stop the others.
    fn attend(&self, child: &mut Child) -> Result<Output> {
        let what = || format!("talk to {}", self.name());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = std::thread::scope(|scope| {
            let feeder = stdin.zip(self.stdin.as_deref()).map(|(mut pipe, content)| {
                // A program may end without reading all of it: its status tells.
                scope.spawn(move || drop(pipe.write_all(content)))
            });
            let listener = stderr.map(|pipe| scope.spawn(move || tail_of(pipe)));
            let read = stdout.map_or(Ok(Vec::new()), |pipe| read_limited(pipe, self.output_limit));
            if read.as_ref().map_or(true, |read| read.len() as u64 > self.output_limit) {
                let _ = child.kill();
            }
            let _ = feeder.map(ScopedJoinHandle::join);
            (read, listener.and_then(|listener| listener.join().ok()).unwrap_or_default())
        });
        let stdout = stdout.context_io(what)?;
        if stdout.len() as u64 > self.output_limit {
            return Err(Error::invalid(format!(
                "{} said more than {} bytes",
                self.name(),
                self.output_limit
            ))
            .with_context("command", self.command_line()));
        }
        Ok(Output { status: child.wait().context_io(what)?, stdout, stderr })
    }

    fn not_started(&self, error: std::io::Error) -> Error {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Error::io(format!("start {}", self.name()), error);
        }
        let missing = Error::unsupported(format!("the program {} is not installed", self.name()));
        match (&self.package, &self.fedora_package) {
            (Some(package), None) => missing.with_hint(format!("install the package {package}")),
            (Some(debian), Some(fedora)) => {
                missing.with_hint(format!("install the package {debian} (Debian) or {fedora} (Fedora)"))
            }
            _ => missing,
        }
    }

    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Program and arguments for people; not quoted, not for a shell.
    fn command_line(&self) -> String {
        let parts = std::iter::once(&self.program).chain(&self.args).map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join(" ")
    }
}

/// How feeding a program ended.
enum Fed {
    All,
    /// The program stopped listening.
    Unwanted(Error),
    Failed(Error),
}

/// A program's standard input, which knows whether anybody listens.
struct Pipe {
    pipe: ChildStdin,
    unwanted: bool,
}

impl Pipe {
    fn feed(pipe: ChildStdin, feed: impl FnOnce(&mut dyn Write) -> Result<()>) -> Fed {
        let mut pipe = Self { pipe, unwanted: false };
        match feed(&mut pipe) {
            Ok(()) => Fed::All,
            Err(error) if pipe.unwanted => Fed::Unwanted(error),
            Err(error) => Fed::Failed(error),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.pipe.write(bytes);
        self.unwanted |= written.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.pipe.flush()
    }
}

/// Runs what blocks on a thread where it may.
///
/// # Errors
/// Those of `work`, and `Internal` if it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("a background task ended early").with_source(error))?
}

/// Reads one byte beyond the limit at most, so that the caller can tell.
fn read_limited(pipe: impl Read, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    pipe.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}

fn tail_of(mut pipe: impl Read) -> String {
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = pipe.read(&mut buffer) {
        tail.extend_from_slice(buffer.get(..n).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
    let text = String::from_utf8_lossy(&tail);
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("sh").args(["-c", script])
    }

    #[test]
    fn a_missing_program_names_its_packages() {
        let tool = Tool::new("no-such-program").package("a-tools").fedora_package("b-tools");
        let error = tool.run_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("no-such-program"), "{error}");
        assert_eq!(error.hint(), Some("install the package a-tools (Debian) or b-tools (Fedora)"));
    }

    #[test]
    fn a_failure_carries_the_status_and_what_was_said() {
        let error = shell("echo first >&2; printf 'no \\033[1mroom' >&2; exit 3").run_blocking().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("no [1mroom"), "{text:?}");
    }

    #[test]
    fn standard_input_arrives_while_output_is_read() {
        let content = vec![b'x'; 1 << 20];
        let output = shell("cat; echo done >&2").stdin(content.clone()).run_blocking().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.as_str()), (content.len(), "done\n"));
    }

    #[test]
    fn a_program_that_ignores_its_input_is_no_error() {
        shell("exit 0").stdin(vec![b'x'; 1 << 20]).run_blocking().unwrap();
    }

    #[test]
    fn a_program_is_fed_as_it_reads() {
        let feed = |pipe: &mut dyn Write| {
            (0..1000).try_for_each(|_| pipe.write_all(&[b'x'; 1000])).context_io(|| "feed".to_owned())
        };
        assert_eq!(shell("wc -c").run_fed_blocking(feed).unwrap().text().trim(), "1000000");
        let error = shell("read -r x; echo enough >&2; exit 3").run_fed_blocking(feed).unwrap_err();
        assert!(error.to_string().contains("enough"), "what the program says counts: {error}");
        shell("exit 0").run_fed_blocking(feed).unwrap_err();
    }

    #[test]
    fn what_fails_while_feeding_counts_more_than_what_the_program_says_of_it() {
        let feed = |_: &mut dyn Write| Err(Error::integrity("damaged"));
        let error = shell("cat; echo short input >&2; exit 1").run_fed_blocking(feed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }

    #[test]
    fn a_program_that_never_stops_talking_is_stopped() {
        let error = shell("while :; do echo y; done").output_limit(1000).run_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn only_the_end_of_a_long_complaint_is_kept() {
        let output = shell("i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done")
            .output_blocking()
            .unwrap();
        assert!(output.stderr.ends_with("line 1999\n") && output.stderr.len() <= TAIL);
    }

    #[tokio::test]
    async fn without_input_it_reads_nothing() {
        assert_eq!(shell("cat; echo $FOO").env("FOO", "bar").run().await.unwrap().text(), "bar\n");
    }
}
