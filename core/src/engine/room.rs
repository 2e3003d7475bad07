//! Full disks: a little is set aside, so that what frees room has some; and errors say what is missing, as "no space" alone sends people to
//! look at bytes, where inodes may have run out.

use crate::{
    error::{Error, ErrorKind, IoContext as _, Result},
    fs::Root,
};

/// The folder of the files that are set aside, beside the engine's records.
const RESERVE: &str = "reserve";
/// The journal, a record that is being replaced, and what a backend's library needs to remove a deployment: libostree a lock, and a transaction
/// with a folder, a lock and a few references.
const FILES: u64 = 12;
/// In bytes. More than most of those.
const FILE_SIZE: usize = 8 << 10;
/// With less, the reserve is used.
const LITTLE: u64 = 1 << 20;

/// Makes those files of the reserve that are not there, in the engine's folder. What is in them does not matter: they are neither synced nor renamed.
pub(super) fn set_reserve_aside(folder: &Root) -> Result<()> {
    let there = folder.list(RESERVE)?;
    for name in names().filter(|name| !there.contains(name)) {
        folder.create_dir_all(RESERVE)?;
        let what = || format!("write {}", folder.show(&path(&name)));
        folder.faults().before(&what())?;
        folder.dir().write(path(&name), [0; FILE_SIZE]).context_io(what)?;
    }
    Ok(())
}

/// Removes the reserve if there is little room or there are few inodes beside it.
pub(super) fn use_reserve_if_full(folder: &Root) -> Result<()> {
    let few = folder.free_inodes()?.is_some_and(|inodes| inodes < 2 * FILES);
    if !few && folder.free_bytes()? >= LITTLE {
        return Ok(());
    }
    for name in names() {
        folder.remove_file(&path(&name))?;
    }
    Ok(())
}

fn names() -> impl Iterator<Item = String> {
    (0..FILES).map(|number| number.to_string())
}

fn path(name: &str) -> String {
    format!("{RESERVE}/{name}")
}

/// The same error; one about space that gives no hint says what the root has left.
pub(super) fn explained(error: Error, root: &Root) -> Error {
    if error.kind() != ErrorKind::NoSpace || error.hint().is_some() {
        return error;
    }
    match left(root) {
        Ok(left) => error.with_hint(format!(
            "the root file system has {left} left: delete files there, or `bootwright unpin` old deployments and run `bootwright gc`"
        )),
        // The first error is the one to tell.
        Err(_) => error,
    }
}

fn left(root: &Root) -> Result<String> {
    let mib = root.free_bytes()? >> 20;
    let inodes = root.free_inodes()?.map(|inodes| format!(" and {inodes} inodes (`df -i`)"));
    Ok(format!("{mib} MiB{}", inodes.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Faults;

    fn here() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        (folder, root)
    }

    #[test]
    fn the_reserve_is_made_once_and_stays_while_there_is_room() {
        let (_folder, root) = here();
        set_reserve_aside(&root).unwrap();
        use_reserve_if_full(&root).unwrap();
        assert_eq!(root.list(RESERVE).unwrap().len() as u64, FILES);
        let counted = Root::open(root.label(), Faults::none()).unwrap();
        set_reserve_aside(&counted).unwrap();
        assert_eq!(counted.faults().count(), 0);
    }

    #[test]
    fn an_error_about_space_says_what_is_left() {
        let (_folder, root) = here();
        let full = Error::io("write a", std::io::ErrorKind::StorageFull.into());
        let hint = explained(full, &root).hint().unwrap_or_default().to_owned();
        assert!(hint.contains("MiB"), "{hint}");
        assert_eq!(hint.contains("inodes"), root.free_inodes().unwrap().is_some());
    }

    #[test]
    fn what_is_no_question_of_space_or_has_a_hint_stays_as_it_is() {
        let (_folder, root) = here();
        assert_eq!(explained(Error::invalid("x"), &root).hint(), None);
        let numbers = Error::new(ErrorKind::NoSpace, "the ESP is full").with_hint("use a larger one");
        assert_eq!(explained(numbers, &root).hint(), Some("use a larger one"));
    }
}
