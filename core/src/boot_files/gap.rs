//! A folder of a FAT that ends before half a name.
//!
//! In a folder of a FAT, a name takes an entry of 32 bytes for each 13 characters, and one more. They may lie in two sectors; after a power cut that lost
//! the first and kept the second, there are zeros before the rest of the name, and zeros mean the end of the folder (Microsoft, "FAT: General
//! Overview of On-Disk Format"). Firmware sees nothing behind them. Linux used to; later versions, of stable series too (6.12.118 does), refuse any name that
//! would reach over the end ("allocated dir entry found after end-of-directory marker"): no file of ours could be made there ever again.
//!
//! A short name takes one entry, and fits. So the gap is filled with such files, until a long name can be made. Then the rest of the half name shows up, as a
//! file with a short name, and is a file that was being written; it goes, and so do those in the gap.

use std::io;

use crate::{
    error::{ErrorKind, IoContext as _, Result},
    fs::{Root, TEMPORARY_PREFIX, is_no_answer},
};

/// With two digits and the extension it is a short name: no further entries.
const FILLER: &str = "BWFILL";
/// More entries than a sector has: no name of ours, each synced by itself, lies in three.
const LONGEST: usize = 20;
/// What is behind the prefix in the name that is tried, in characters: as long as a name may be, it takes more entries than a sector has.
const TRIED: usize = 255 - TEMPORARY_PREFIX.len();
/// How the short names of files begin whose long names begin with `bootwright` or [`TEMPORARY_PREFIX`]; a tilde, a number and perhaps an
/// extension follow.
const ALIAS: &str = "BOOTWR~";

/// Lets a folder take long names again, if it is on FAT and does not. To be called before anything else is written to the file system: what
/// shows up may claim clusters that are free. What shows up, and what fills the gap, [`is_left_over`].
///
/// # Errors
/// `Interrupted`. What else goes wrong is not of this gap: whoever writes there next will say so.
pub(super) fn close(root: &Root, folder: &str) -> Result<()> {
    if !root.is_on_fat() || !root.dir().is_dir(folder) {
        return Ok(());
    }
    close_with(root, folder, &mut |path| try_name(root, path))
}

/// Whether a name says that a file is one of a gap, or the rest of one of ours.
pub(super) fn is_left_over(name: &str) -> bool {
    let is_alias = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.starts_with(FILLER) || name.strip_prefix(ALIAS).is_some_and(is_alias)
}

fn close_with(root: &Root, folder: &str, takes: &mut dyn FnMut(&str) -> io::Result<bool>) -> Result<()> {
    let tried = format!("{folder}/{TEMPORARY_PREFIX}{:x<TRIED$}", "");
    for number in 0..=LONGEST {
        root.faults().before(&format!("try a name in {}", root.show(folder)))?;
        if takes(&tried).unwrap_or(true) {
            return Ok(());
        }
        if number == 0 {
            tracing::warn!("{} ends before half a name, as a power cut may leave it", root.show(folder));
        }
        if let Err(error) = fill(root, &format!("{folder}/{FILLER}{number:02}.TMP")) {
            return if error.kind() == ErrorKind::Interrupted { Err(error) } else { Ok(()) };
        }
    }
    Ok(())
}

fn fill(root: &Root, path: &str) -> Result<()> {
    let what = || format!("write {}", root.show(path));
    root.faults().before(&what())?;
    root.dir().create(path).map(drop).context_io(what)
}

/// Whether a file of this name can be made; false if the file system says that it is in error. It is not synced: a temporary file, if power fails.
fn try_name(root: &Root, path: &str) -> io::Result<bool> {
    match root.dir().create(path) {
        Ok(_) => root.dir().remove_file(path).map(|()| true),
        Err(error) if is_no_answer(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        boot_files::remove_temporaries,
        fs::{Faults, ReplaceStyle},
    };

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        root.replace("a/bootwright-x.efi", b"content", ReplaceStyle::Relaxed).unwrap();
        (folder, root)
    }

    /// spec: BW-424
    #[test]
    fn a_gap_is_filled_until_a_long_name_fits_and_what_it_hid_goes() {
        let (folder, root) = root();
        let mut tries = 0;
        close_with(&root, "a", &mut |path| {
            assert!(path.len() > 200 && path.starts_with("a/.bootwright-tmp."), "{path}");
            tries += 1;
            if tries == 4 {
                std::fs::write(folder.path().join("a/BOOTWR~2.EFI"), "half").unwrap();
            }
            Ok(tries == 4)
        })
        .unwrap();
        let filled = ["BOOTWR~2.EFI", "BWFILL00.TMP", "BWFILL01.TMP", "BWFILL02.TMP", "bootwright-x.efi"];
        assert_eq!(root.list("a").unwrap(), filled);
        assert_eq!(remove_temporaries(&root, "a").unwrap(), 4);
        assert_eq!(root.list("a").unwrap(), ["bootwright-x.efi"]);
    }

    #[test]
    fn a_folder_that_takes_names_stays_as_it_is() {
        let (_folder, root) = root();
        close_with(&root, "a", &mut |path| Ok(try_name(&root, path).unwrap())).unwrap();
        assert_eq!(root.list("a").unwrap(), ["bootwright-x.efi"]);
    }

    #[test]
    fn what_cannot_be_filled_or_tried_is_left_to_who_writes_next() {
        let (_folder, root) = root();
        close_with(&root, "a", &mut |_| Ok(false)).unwrap();
        assert_eq!(root.list("a").unwrap().len(), 1 + LONGEST + 1);
        remove_temporaries(&root, "a").unwrap();
        close_with(&root, "a", &mut |_| Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert_eq!(root.list("a").unwrap(), ["bootwright-x.efi"]);
    }

    #[test]
    fn only_short_names_of_our_own_files_are_left_over() {
        for name in ["BOOTWR~1", "BOOTWR~12.EFI", "BWFILL07.TMP"] {
            assert!(is_left_over(name), "{name}");
        }
        for name in ["BOOTX64.EFI", "BOOTWR~X.EFI", "bootwright-a.efi", "boowr~1", "WINDOW~1.EFI"] {
            assert!(!is_left_over(name), "{name}");
        }
    }
}
