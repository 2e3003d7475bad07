//! `debugfs` and `e2fsck`: their scripts, their output, and how they are run.

use std::fmt::Write as _;
use std::path::Path;

use bootwright_core::{
    error::{Error, Result},
    process::{Output, Tool},
};

use super::append::{SealedFile, VERITY_FLAG};

/// What one run of `debugfs` may print. For each inode it is some 600 bytes, and more where a file is in many pieces.
const MOST_OUTPUT: u64 = 1 << 30;

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
    let write = if write { &["-w"][..] } else { &[] };
    let tool = e2fsprogs("debugfs").args(write).args(["-f", "-"]).arg(device).stdin(script);
    Ok(content(&tool.output_limit(MOST_OUTPUT))?.text())
}

/// `e2fsck -fn`: a full check that changes nothing.
pub(super) fn check_file_system(device: &Path) -> Result<()> {
    content(&e2fsprogs("e2fsck").arg("-fn").arg(device)).map(drop)
}

fn e2fsprogs(program: &str) -> Tool {
    Tool::new(program).package("e2fsprogs")
}

fn content(tool: &Tool) -> Result<Output> {
    let output = tool.output_blocking()?;
    if output.status.success() {
        return Ok(output);
    }
    let text = output.text();
    let tail: Vec<_> = text.lines().rev().take(20).collect();
    let tail: Vec<_> = tail.into_iter().rev().collect();
    let problem = Error::integrity("the file system is not what it should be after sealing");
    Err(problem.with_context("output", tail.join("\n")).with_source(tool.failure(&output)))
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
