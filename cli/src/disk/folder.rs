//! Folders to mount on: removed at the end, but never with anything in them.

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use bootwright_core::{IoContext, Result};

/// A folder with a name of its own that only root can look into.
///
/// Dropping it removes it and its direct sub-folders if they are empty. It never descends: something may still be mounted there.
#[derive(Debug)]
pub struct MountFolder(PathBuf);

impl MountFolder {
    /// Makes it below `/run`, or in the temporary folder where there is no `/run`.
    ///
    /// # Errors
    /// As the system says.
    pub fn new() -> Result<Self> {
        let run = Path::new("/run");
        let parent = if run.is_dir() { run.to_owned() } else { std::env::temp_dir() };
        let what = || format!("make a folder to mount on in {}", parent.display());
        let folder = tempfile::Builder::new().prefix("bootwright-").tempdir_in(&parent).context_io(what)?;
        Ok(Self(folder.keep()))
    }

    /// A folder in it, made if need be.
    ///
    /// # Errors
    /// As the system says.
    pub fn sub(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        let what = || format!("make folder {}", path.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).context_io(what)?;
        Ok(path)
    }
}

impl Drop for MountFolder {
    #[expect(clippy::disallowed_methods, reason = "empty folders to mount on, in memory below /run")]
    fn drop(&mut self) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(entry.path());
        }
        if let Err(error) = std::fs::remove_dir(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "left behind");
        }
    }
}
