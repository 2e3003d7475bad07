//! The second half of sealing: sizes and flags of the inodes, on the unmounted file system.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bootwright_core::error::{Effect, Error, ErrorKind, Result};
use bootwright_core::patience::again_while;

use super::append::{SealedFile, VERITY_FLAG};
use super::debugfs::{self, InodeState};
use super::ext4;

/// How long to wait for the file system to be free.
const PATIENCE: Duration = Duration::from_secs(30);

/// Files that one run of `debugfs` is given: what it prints of them, some 600 bytes for each, is held in memory.
const AT_ONCE: usize = 50_000;

/// What the first half has done, and the second half needs. It holds no handle: the file system can be unmounted.
#[derive(Debug, Clone, Default)]
#[must_use = "the objects are unusable until `finish` has run"]
pub struct Sealing {
    files: Vec<SealedFile>,
}

/// What was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Number of files that got their flag (those sealed by an earlier run are not counted).
    pub files: usize,
    /// Their data in bytes.
    pub bytes: u64,
}

impl Sealing {
    pub(super) fn new(mut files: Vec<SealedFile>) -> Self {
        // Inodes in order: debugfs then walks the inode tables once. Hard links name an inode twice.
        files.sort_unstable_by_key(|file| file.inode);
        files.dedup_by_key(|file| file.inode);
        Self { files }
    }

    /// One line of text for each file, for [`Sealing::from_notes`] in another process or after unmounting.
    pub fn to_notes(&self) -> String {
        let line = |file: &SealedFile| format!("{} {} {}", file.inode, file.size, file.flags);
        self.files.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Reads what [`Sealing::to_notes`] has written.
    ///
    /// # Errors
    /// `InvalidInput` if a line is not three numbers.
    pub fn from_notes(notes: &str) -> Result<Self> {
        let parse = |line: &str| {
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let (Some(Ok(inode)), Some(Ok(size)), Some(Ok(flags)), None) =
                (numbers.next(), numbers.next(), numbers.next(), numbers.next())
            else {
                return None;
            };
            Some(SealedFile { inode, size, flags: u32::try_from(flags).ok()? })
        };
        let files: Option<Vec<_>> = notes.lines().map(parse).collect();
        files.map(Self::new).ok_or_else(|| Error::invalid("the notes on files to be sealed are malformed"))
    }

    /// The files that are to be sealed, by inode.
    pub fn files(&self) -> &[SealedFile] {
        &self.files
    }

    /// Gives every inode its size and the verity flag, on the unmounted `device` (a block device or an image file).
    ///
    /// Then `e2fsck -fn` must be content, and every inode is read back. A crash leaves some files sealed; mount, append and
    /// finish again to seal the rest. Does nothing if there is nothing to seal.
    ///
    /// Waits a while for the file system to be free: another mount namespace (a service that started meanwhile has its own) may hold on
    /// to it for some moments after the last `umount`.
    ///
    /// # Errors
    /// `Busy` while the file system is mounted; `Unsupported` as [`check_device`](ext4::check_device); `Integrity` if the file system or an
    /// inode is not as it must be afterwards: the disk must not be used then.
    pub fn finish(&self, device: &Path) -> Result<Summary> {
        self.finish_within(device, PATIENCE)
    }

    /// [`Sealing::finish`] with another time to wait.
    pub(super) fn finish_within(&self, device: &Path, patience: Duration) -> Result<Summary> {
        let summary = Summary { files: self.files.len(), bytes: self.files.iter().map(|f| f.size).sum() };
        if self.files.is_empty() {
            return Ok(summary);
        }
        let busy = |error: &Error| error.kind() == ErrorKind::Busy;
        let claim = again_while(patience, busy, || ext4::claim_device(device))?;
        drop(claim); // debugfs opens the device for itself, too
        self.seal(device, AT_ONCE)
            .map_err(|e| e.with_effect(Effect::Partial).with_context("device", device.display()))?;
        Ok(summary)
    }

    /// Seals all files, so many with each run of `debugfs`, and looks at the result in the same way.
    pub(super) fn seal(&self, device: &Path, at_once: usize) -> Result<()> {
        for files in self.files.chunks(at_once) {
            debugfs::run(device, &debugfs::seal_script(files), true)?;
        }
        debugfs::check_file_system(device)?;
        let mut unsealed = 0;
        for files in self.files.chunks(at_once) {
            let said = debugfs::run(device, &debugfs::stat_script(files), false)?;
            unsealed += count_unsealed(files, &debugfs::parse_stat(&said));
        }
        demand_none(unsealed, self.files.len())
    }
}

fn count_unsealed(files: &[SealedFile], states: &[InodeState]) -> usize {
    let states: HashMap<u64, &InodeState> = states.iter().map(|state| (state.inode, state)).collect();
    let is_sealed = |file: &&SealedFile| {
        states
            .get(&file.inode)
            .is_some_and(|state| state.size == file.size && state.flags == file.flags | VERITY_FLAG)
    };
    files.iter().filter(|file| !is_sealed(file)).count()
}

fn demand_none(unsealed: usize, of: usize) -> Result<()> {
    if unsealed == 0 {
        return Ok(());
    }
    Err(Error::integrity(format!("{unsealed} of {of} files did not get their verity flag"))
        .with_hint("run the installation again; the disk as it is would not start"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SealedFile = SealedFile { inode: 12, size: 5, flags: 0x8_0000 };

    #[test]
    fn an_inode_without_the_flag_is_an_integrity_error() {
        let good = InodeState { inode: 12, size: 5, flags: 0x18_0000 };
        assert_eq!(count_unsealed(&[FILE], &[good]), 0);
        for bad in [
            InodeState { flags: 0x8_0000, ..good },
            InodeState { size: 6, ..good },
            InodeState { inode: 13, ..good },
        ] {
            assert_eq!(count_unsealed(&[FILE], &[bad]), 1, "{bad:?}");
        }
        assert_eq!(demand_none(1, 2).expect_err("not sealed").kind(), ErrorKind::Integrity);
    }

    #[test]
    fn notes_read_back_what_was_written_and_nothing_else() {
        let sealing = Sealing::new(vec![FILE, SealedFile { inode: 7, ..FILE }]);
        assert_eq!(Sealing::from_notes(&sealing.to_notes()).expect("notes").files(), sealing.files());
        for bad in ["x", "1 2", "1 2 3 4", "1 2 99999999999"] {
            assert!(Sealing::from_notes(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_hard_link_is_sealed_once() {
        assert_eq!(Sealing::new(vec![FILE, FILE]).files().len(), 1);
    }
}
