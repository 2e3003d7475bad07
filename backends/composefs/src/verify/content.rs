//! Reading the content of objects that the kernel verifies.
//!
//! The library only asks the kernel for the digest that it recorded when fs-verity was enabled; that reads no content. A damaged block
//! shows when it is read from the disk: the read fails then.

use std::io::Read;

use bootwright_core::{
    context::BackendContext,
    error::{Error, Result},
    fs::Root,
};
use composefs::repository::FsckError;
use rustix::fs::Advice;

use crate::repo::REPOSITORY;

/// Every object that cannot be read to its end.
pub(super) async fn unreadable(context: &BackendContext) -> Result<Vec<FsckError>> {
    let sysroot = context.sysroot.clone();
    let done = tokio::task::spawn_blocking(move || read_all(&sysroot)).await;
    done.map_err(|error| Error::internal("a background task ended early").with_source(error))?
}

fn read_all(sysroot: &Root) -> Result<Vec<FsckError>> {
    let repository = sysroot.sub(REPOSITORY)?;
    let mut damaged = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    for folder in repository.list("objects")? {
        for name in repository.list(&format!("objects/{folder}"))? {
            let path = format!("objects/{folder}/{name}");
            if let Err(error) = read(&repository, &path, &mut buffer) {
                damaged.push(FsckError::ObjectVerityFailed { path, detail: error.to_string() });
            }
        }
    }
    Ok(damaged)
}

fn read(repository: &Root, path: &str, buffer: &mut [u8]) -> std::io::Result<()> {
    // An object that cannot be opened was reported by the library.
    let Ok(Some(mut file)) = repository.open_file(path) else { return Ok(()) };
    // What the page cache holds was verified when it was read; the question is what the disk holds.
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    while file.read(buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use bootwright_core::fs::{Faults, ReplaceStyle};

    use super::*;

    #[test]
    fn what_can_be_read_is_no_problem_and_what_cannot_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        let object = |name: &str| format!("{REPOSITORY}/objects/{name}");
        root.replace(&object("ab/good"), b"content", ReplaceStyle::Relaxed).unwrap();
        assert!(read_all(&root).unwrap().is_empty());
        // A folder opens like a file, and fails when it is read.
        root.create_dir_all(&object("ab/bad")).unwrap();
        let found = read_all(&root).unwrap();
        assert!(
            matches!(found.as_slice(), [FsckError::ObjectVerityFailed { path, .. }] if path == "objects/ab/bad"),
            "{found:?}"
        );
    }
}
