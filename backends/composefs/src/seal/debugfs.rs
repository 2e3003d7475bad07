//! `debugfs` and `e2fsck`: their scripts, their output, and how they are run.

use std::fmt::Write as _;
use std::io::{Seek, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bootwright_core::error::{Error, IoContext, Result};

use super::append::{SealedFile, VERITY_FLAG};

/// What `debugfs` says of one inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InodeState {
    pub inode: u64,
    pub size: u64,
    pub flags: u32,
}

/// The commands that give each inode its size and the flag. Size first: an inode with the flag and the wrong size
/// would be a corrupt file, one with the right size and no flag is an ordinary one.
pub(super) fn seal_script(files: &[SealedFile]) -> String {
    let mut script = String::new();
    for SealedFile { inode, size, flags } in files {
        let flags = flags | VERITY_FLAG;
        // Writing to a string cannot fail.
        let _ = write!(script, "sif <{inode}> size {size}\nsif <{inode}> flags {flags:#x}\n");
    }
    script
}

/// The commands that print each inode.
pub(super) fn stat_script(files: &[SealedFile]) -> String {
    let lines: Vec<_> = files.iter().map(|file| format!("stat <{}>\n", file.inode)).collect();
    lines.concat()
}

/// Reads the output of the `stat` commands.
pub(super) fn parse_stat(output: &str) -> Vec<InodeState> {
    let mut states = Vec::new();
    let mut current: Option<(u64, u32)> = None;
    for line in output.lines() {
        if let Some(inode) = field(line, "Inode:") {
            current = inode.parse().ok().zip(field(line, "Flags:").and_then(parse_hex));
        } else if line.starts_with("User:") {
            let size = field(line, "Size:").and_then(|size| size.parse().ok());
            if let Some(((inode, flags), size)) = current.take().zip(size) {
                states.push(InodeState { inode, size, flags });
            }
        }
    }
    states
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split_whitespace().next()
}

fn parse_hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Runs `debugfs` on `device` with `script`; `-w` if it may write. Returns what it printed. Its exit status says nothing about
/// single commands: the caller has to look at the result.
pub(super) fn run(device: &Path, script: &str, write: bool) -> Result<String> {
    let mut input = tempfile::tempfile().context_io(|| "make a temporary file for debugfs".into())?;
    input
        .write_all(script.as_bytes())
        .and_then(|()| input.rewind())
        .context_io(|| "write the commands for debugfs".into())?;
    let mut command = Command::new("debugfs");
    if write {
        command.arg("-w");
    }
    command.args(["-f", "-"]).arg(device).stdin(Stdio::from(input));
    let output = execute(&mut command, "debugfs")?;
    if !output.status.success() {
        return Err(tool_error("debugfs", &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `e2fsck -fn`: a full check that changes nothing.
pub(super) fn check_file_system(device: &Path) -> Result<()> {
    let output = execute(Command::new("e2fsck").arg("-fn").arg(device).stdin(Stdio::null()), "e2fsck")?;
    if output.status.success() {
        return Ok(());
    }
    Err(tool_error("e2fsck", &output))
}

fn execute(command: &mut Command, name: &str) -> Result<Output> {
    command
        .env("LC_ALL", "C")
        .output()
        .context_io(|| format!("run {name}"))
        .map_err(|e| e.with_hint("install e2fsprogs, which holds debugfs and e2fsck"))
}

fn tool_error(name: &str, output: &Output) -> Error {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let tail: Vec<_> = text.lines().rev().take(20).collect();
    let tail: Vec<_> = tail.into_iter().rev().collect();
    Error::integrity(format!("{name} is not content with the file system ({})", output.status))
        .with_context("output", tail.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "debugfs: stat <13>\n\
        Inode: 13   Type: regular    Mode:  0444   Flags: 0x180000\n\
        Generation: 1    Version: 0x00000000:00000001\n\
        User:     0   Group:     0   Project:     0   Size: 5000\n\
        File ACL: 0\n\
        debugfs: stat <14>\n\
        Inode: 14   Type: regular    Mode:  0444   Flags: 0x80000\n\
        User:     0   Group:     0   Size: 7\n";

    #[test]
    fn sizes_and_flags_are_read_from_the_output_of_stat() {
        let expected = [
            InodeState { inode: 13, size: 5000, flags: 0x18_0000 },
            InodeState { inode: 14, size: 7, flags: 0x8_0000 },
        ];
        assert_eq!(parse_stat(STAT), expected);
    }

    #[test]
    fn broken_output_gives_no_state() {
        assert_eq!(parse_stat("Inode: x Flags: 0x1\nUser: 0 Size: 3\nInode: 3 Flags: zz\nUser: Size:\n"), []);
    }

    #[test]
    fn other_flags_are_kept() {
        let script = seal_script(&[SealedFile { inode: 12, size: 70_000, flags: 0x8_0010 }]);
        assert_eq!(script, "sif <12> size 70000\nsif <12> flags 0x180010\n");
    }
}
