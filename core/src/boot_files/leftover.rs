//! Temporary files that a stopped command left behind.

use crate::{
    error::Result,
    fs::{Root, TEMPORARY_PREFIX},
};

/// Removes temporary files of [`Root`] in a folder and in the folders below it. Returns how many bytes they had.
///
/// # Errors
/// As the system says.
pub fn remove_temporaries(root: &Root, folder: &str) -> Result<u64> {
    let mut bytes = 0;
    for name in root.list(folder)? {
        let path = format!("{folder}/{name}");
        // Links are not followed: what they lead to is not below the folder.
        let kind = root.dir().symlink_metadata(&path).map(|metadata| metadata.file_type());
        if kind.as_ref().is_ok_and(cap_std::fs::FileType::is_dir) {
            bytes += remove_temporaries(root, &path)?;
        } else if name.starts_with(TEMPORARY_PREFIX) {
            bytes += root.size_of(&path)?.unwrap_or(0);
            root.remove_file(&path)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Faults, ReplaceStyle};

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
