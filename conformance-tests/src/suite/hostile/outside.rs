//! Files beside the tree, on the machine that runs the suite: where layers lead that try to leave it.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::suite::Fingerprint;

/// A file in the folder.
pub const VICTIM: &str = "victim";
/// A folder in it, with a file.
pub const FOLDER: &str = "folder";
const WITHIN: &str = "folder/within";
/// Names and targets of links are cut off after 100 bytes in the headers of layers; this much of them is spent otherwise.
const MOST: usize = 50;
/// More folders than any tree has above it: what leads up further than the root stays there.
const UP: usize = 10;

/// A folder that no layer may reach. It goes with this value.
#[derive(Debug)]
pub struct Outside {
    folder: tempfile::TempDir,
}

impl Outside {
    /// Makes it, with files that are old and of an unusual mode, so that everything that is done to them shows.
    ///
    /// # Errors
    /// When it cannot be written, or its path is so long that headers would cut it off.
    pub fn plant() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("suite-out-").tempdir()?;
        let outside = Self { folder };
        let (path, length) = (outside.path(), outside.path().as_os_str().len());
        ensure!(length <= MOST, "{} is too long: set TMPDIR to a shorter one", path.display());
        std::fs::create_dir(path.join(FOLDER))?;
        for name in [VICTIM, WITHIN] {
            std::fs::write(path.join(name), "out of reach")?;
        }
        for (name, mode) in [(VICTIM, 0o640), (WITHIN, 0o604), (FOLDER, 0o750)] {
            let path = path.join(name);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
            std::fs::File::open(&path)?
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))?;
        }
        Ok(outside)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The absolute path of the folder.
    pub fn absolute(&self) -> String {
        self.path().display().to_string()
    }

    /// A path to it that leads up to the root first, from wherever it is followed.
    pub fn upward(&self) -> String {
        format!("{}{}", "../".repeat(UP), self.absolute().trim_start_matches('/'))
    }

    /// All that can be seen of the folder and what is in it: content, mode, owner, number of links, and time of the last change.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        let mut all = Fingerprint::default();
        let mut left = vec![self.path().to_owned()];
        while let Some(path) = left.pop() {
            all.add(path.display().to_string(), describe(&path)?);
            if path.symlink_metadata()?.is_dir() {
                let inside = std::fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path()));
                left.extend(inside.collect::<std::io::Result<Vec<PathBuf>>>()?);
            }
        }
        Ok(all)
    }
}

fn describe(path: &Path) -> Result<String> {
    let found = path.symlink_metadata().with_context(|| format!("look at {}", path.display()))?;
    let content =
        if found.is_file() { hex::encode(Sha256::digest(std::fs::read(path)?)) } else { String::new() };
    let (mode, owner, links) = (found.mode(), (found.uid(), found.gid()), found.nlink());
    Ok(format!(
        "{mode:o} {owner:?} {links} links, changed {}.{} {content}",
        found.mtime(),
        found.mtime_nsec()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn whatever_is_done_outside_is_seen() {
        type Deed = fn(&Path) -> std::io::Result<()>;
        let deeds: [(&str, Deed); 7] = [
            ("a whiteout", |at| fs::remove_file(at.join(VICTIM))),
            ("an opaque folder", |at| fs::remove_file(at.join(WITHIN))),
            ("a write", |at| fs::write(at.join(VICTIM), "in reach now")),
            ("the same content", |at| fs::write(at.join(VICTIM), "out of reach")),
            ("a hard link", |at| fs::hard_link(at.join(VICTIM), at.with_extension("link"))),
            ("a mode", |at| fs::set_permissions(at.join(FOLDER), fs::Permissions::from_mode(0o755))),
            ("a new file", |at| fs::write(at.join("new"), "")),
        ];
        for (what, deed) in deeds {
            let outside = Outside::plant().unwrap();
            let before = outside.fingerprint().unwrap();
            before.unchanged(&outside.fingerprint().unwrap(), "nothing").unwrap();
            deed(outside.path()).unwrap();
            assert!(!before.diff(&outside.fingerprint().unwrap()).is_empty(), "{what} was not seen");
            let _ = fs::remove_file(outside.path().with_extension("link"));
        }
    }

    #[test]
    fn both_ways_lead_to_the_folder() {
        let outside = Outside::plant().unwrap();
        for path in [PathBuf::from(outside.absolute()), Path::new("/usr/lib").join(outside.upward())] {
            assert_eq!(fs::read_to_string(path.join(VICTIM)).unwrap(), "out of reach");
        }
    }
}
