//! Temporary files that a stopped command left behind.

use super::gap;
use crate::{
    error::{Error, ErrorKind, Result},
    fs::{Root, TEMPORARY_PREFIX},
};

/// Removes temporary files of [`Root`] in a folder and in the folders below it. Returns how many bytes they had.
///
/// On FAT, a power cut in a rename may leave two names for the same clusters, which come free with the first that is removed. So a file
/// that has the content of a temporary one gets clusters of its own before.
///
/// And it may leave a folder that ends before half a name, which takes no new files: it is made to take them again.
///
/// Folders with a temporary name stay: what is in them may be in another folder as well, and Linux may refuse to open them.
///
/// # Errors
/// As the system says.
pub fn remove_temporaries(root: &Root, folder: &str) -> Result<u64> {
    gap::close(root, folder)?;
    let names = root.list(folder)?;
    let (temporary, others): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.starts_with(TEMPORARY_PREFIX) || gap::is_left_over(name));
    let path = |name: &String| format!("{folder}/{name}");
    // Links are not followed: what they lead to is not below the folder. What the kernel does not open is neither: it stays.
    let look = |name: &String| root.dir().symlink_metadata(path(name));
    let is_folder = |name: &String| look(name).is_ok_and(|found| found.is_dir());
    let is_file = |name: &String| look(name).is_ok_and(|found| !found.is_dir());
    let mut bytes = 0;
    for name in others.iter().filter(|name| is_folder(name)) {
        bytes += remove_temporaries(root, &path(name))?;
    }
    let mut doomed = Vec::new();
    for name in temporary.into_iter().filter(|name| is_file(name)) {
        let mut twins = Vec::new();
        for other in others.iter().filter(|other| is_file(other)) {
            if same_content(root, &path(name), &path(other))? {
                twins.push(other);
            }
        }
        let replaced: Result<Vec<_>> =
            twins.into_iter().map(|twin| with_its_own_clusters(root, folder, twin)).collect();
        match replaced {
            Ok(replaced) => doomed.extend(replaced),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "{} stays, since another file may need what it holds", root.show(&path(name)));
                continue;
            }
        }
        bytes += root.size_of(&path(name))?.unwrap_or(0);
        doomed.push(path(name));
    }
    for path in doomed {
        root.remove_file(&path)?;
    }
    Ok(bytes)
}

fn same_content(root: &Root, a: &str, b: &str) -> Result<bool> {
    let size = root.size_of(a)?.filter(|size| *size > 0);
    // What a cut left may be unreadable: then it is no other file.
    let digest = |path: &str| root.sha256_of(path).ok().flatten();
    Ok(size.is_some() && size == root.size_of(b)? && digest(a).is_some_and(|found| Some(found) == digest(b)))
}

/// Puts a copy in the place of a file; returns where the old one is now, to be removed.
fn with_its_own_clusters(root: &Root, folder: &str, name: &str) -> Result<String> {
    let path = format!("{folder}/{name}");
    let content = root.open_file(&path)?;
    let mut content = content.ok_or_else(|| Error::not_found(format!("{} is gone", root.show(&path))))?;
    let (copy, _) = root.copy_to_temporary(&format!("{folder}/again.{name}"), &mut content)?;
    if let Err(error) = root.exchange(&copy, &path) {
        let _ = root.remove_file(&copy);
        return Err(error);
    }
    root.sync_path(&path)?;
    Ok(copy)
}

/// Removes a folder with all that is in it, if it can be: one that a power cut has damaged on FAT stays, with a warning, and hinders nothing.
///
/// # Errors
/// As the system says, but for input and output on FAT.
pub fn remove_folder(root: &Root, path: &str) -> Result<bool> {
    match root.remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::Io && root.is_on_fat() => {
            tracing::warn!(%error, "a folder stays; `fsck.fat -a` on the unmounted partition may help");
            Ok(false)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fault, Faults, ReplaceStyle};

    /// A second name for the same clusters, as a power cut may leave it on FAT.
    ///
    /// spec: BW-420
    #[test]
    fn a_file_that_may_share_its_clusters_with_a_temporary_one_gets_its_own_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        root.replace("a/x", b"content", ReplaceStyle::Relaxed).unwrap();
        root.replace("a/y", b"another", ReplaceStyle::Relaxed).unwrap();
        let at = |name: &str| folder.path().join("a").join(name);
        let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&at(name).metadata().unwrap());
        std::fs::hard_link(at("x"), at(&format!("{TEMPORARY_PREFIX}x"))).unwrap();
        let before = (inode("x"), inode("y"));
        assert_eq!(remove_temporaries(&root, "a").unwrap(), 7);
        assert_eq!(root.list("a").unwrap(), ["x", "y"]);
        assert_eq!(root.read("a/x").unwrap().unwrap(), b"content");
        assert!(inode("x") != before.0 && inode("y") == before.1);
    }

    /// What Linux calls a device error is a damaged FAT only on FAT.
    ///
    /// spec: BW-903
    #[test]
    fn a_folder_that_cannot_be_removed_is_reported_where_it_is_not_on_fat() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        root.replace("a/x", b"1", ReplaceStyle::Relaxed).unwrap();
        let failing = Root::open(folder.path(), Faults::fail_once(0, Fault::Io)).unwrap();
        assert_eq!(remove_folder(&failing, "a").unwrap_err().kind(), ErrorKind::Io);
        assert!(remove_folder(&root, "a").unwrap());
    }

    #[test]
    fn a_folder_with_a_temporary_name_stays_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        let path = format!("a/{TEMPORARY_PREFIX}0.b/linux");
        root.replace(&path, b"x", ReplaceStyle::Relaxed).unwrap();
        assert_eq!(remove_temporaries(&root, "a").unwrap(), 0);
        assert!(root.exists(&path));
    }

    #[test]
    fn only_temporary_files_go_also_from_folders_below() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        root.write_temporary("a/x", b"12").unwrap();
        root.write_temporary("a/b/x", b"345").unwrap();
        root.replace("a/b/y", b"stays", ReplaceStyle::Relaxed).unwrap();
        assert_eq!(remove_temporaries(&root, "a").unwrap(), 5);
        assert_eq!(
            (root.list("a").unwrap(), root.list("a/b").unwrap()),
            (vec!["b".into()], vec!["y".into()])
        );
        assert_eq!(remove_temporaries(&root, "none").unwrap(), 0);
    }
}
