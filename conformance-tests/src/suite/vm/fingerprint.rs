//! The state of a machine's disks and firmware as a comparable value.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result};
use rustix::{fs::SeekFrom, io::Errno};
use sha2::{Digest as _, Sha256};

use super::scripts;
use crate::{lifecycle::Guest, suite::Fingerprint};

/// Bytes that are read at once.
const PART: usize = 1 << 20;

/// Takes it of a machine that was never switched on: what is written in the sparse file of its disk. A file that is not there yet is an empty
/// disk.
///
/// # Errors
/// When the file cannot be read.
pub fn of_disk(disk: &Path) -> Result<Fingerprint> {
    let mut all = Fingerprint::default();
    if !disk.exists() {
        return Ok(all);
    }
    let what = || format!("read {}", disk.display());
    let file = File::open(disk).with_context(what)?;
    let mut at = 0;
    while let Some((start, end)) = next_data(&file, at).with_context(what)? {
        all.add(format!("disk {start} to {end}"), digest(&file, start, end).with_context(what)?);
        at = end;
    }
    Ok(all)
}

/// Where the next bytes that were written begin and end, from this place on (lseek(2), `SEEK_DATA`).
fn next_data(file: &File, at: u64) -> Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => return Ok(None),
        found => found?,
    };
    Ok(Some((start, rustix::fs::seek(file, SeekFrom::Hole(start))?)))
}

fn digest(file: &File, start: u64, end: u64) -> Result<String> {
    let (mut hash, mut buffer, mut at) = (Sha256::new(), vec![0; PART], start);
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(PART).min(PART);
        let part = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, at)?;
        hash.update(&*part);
        at += length as u64;
    }
    Ok(hex::encode(hash.finalize()))
}

/// Takes it of a running machine.
///
/// # Errors
/// When the guest does not answer.
pub fn take(guest: &mut Guest) -> Result<Fingerprint> {
    Ok(parse(&scripts::fingerprint(guest)?))
}

fn parse(text: &str) -> Fingerprint {
    let mut all = Fingerprint::default();
    for (name, content) in text.lines().filter_map(|line| line.split_once('\t')) {
        all.add(name, content);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_nothing_was_written_to_is_as_one_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk.img");
        let before = of_disk(&disk).unwrap();
        let file = File::create(&disk).unwrap();
        file.set_len(1 << 30).unwrap();
        before.unchanged(&of_disk(&disk).unwrap(), "making an empty disk").unwrap();
        file.write_all_at(b"x", 1 << 29).unwrap();
        let written = of_disk(&disk).unwrap();
        assert!(before.unchanged(&written, "a write").is_err());
        file.write_all_at(b"y", 1 << 29).unwrap();
        assert!(written.unchanged(&of_disk(&disk).unwrap(), "another byte").is_err());
    }
}
