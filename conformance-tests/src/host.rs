//! What the harness needs to know about the machine it runs on: where output goes, which programs exist,
//! and how to run one as root.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// Folders that hold system programs but are often missing from an ordinary user's `PATH`.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The cargo target folder: `CARGO_TARGET_DIR`, or `target` beside the workspace's manifest.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

/// Where files for a moment go: memory, where the machine offers it, so that nothing waits for a disk; else its folder for temporary files.
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Looks `program` up in `PATH` and in the system folders; `None` when it is not installed.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// A command for `program`, found also in the system folders that `PATH` may lack.
pub fn command(program: &str) -> Command {
    Command::new(find_program(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// A command that runs `program` as root: directly, or through `sudo -n` (which never asks).
pub fn privileged(program: &str) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    sudo.args(["-n", "--"]).arg(find_program(program).unwrap_or_else(|| PathBuf::from(program)));
    sudo
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0; the error shows the command line and the
/// end of what it said on standard error.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let shown = command_line(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`; is it installed?"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}:\n{}", output.status, tail(&output.stderr, 30));
    }
    Ok(output.stdout)
}

/// A command as one line that can be pasted into a shell.
pub fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// The last `lines` lines of some output, for an error message.
pub fn tail(output: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).copied().collect::<Vec<_>>().join("\n")
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("echo");
        command.args(["a b", "it's", "plain=1"]);
        assert_eq!(command_line(&command), r"echo 'a b' 'it'\''s' plain=1");
    }

    #[test]
    fn the_tail_of_a_short_output_is_all_of_it() {
        assert_eq!(tail(b"one\ntwo\n", 5), "one\ntwo");
        assert_eq!(tail(b"one\ntwo\nthree\n", 2), "two\nthree");
    }

    #[test]
    fn a_failing_command_shows_its_complaint() {
        let error = run(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_missing_program_is_not_found() {
        assert_eq!(find_program("no-such-program-anywhere"), None);
        assert!(find_program("sh").is_some());
    }
}
