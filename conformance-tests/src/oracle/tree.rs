//! The tree behind a boot entry: whether all of it is there and as it was, read without the plugins' help.

use std::{
    collections::BTreeMap,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::LiveRoot;
use crate::host;

/// Where the composefs store has its objects, below the physical root.
pub const OBJECTS: &str = "composefs/objects";
const REDIRECT: &str = "trusted.overlay.redirect";

/// An object of the composefs store.
pub fn object(root: &Path, name: &str) -> PathBuf {
    let (prefix, rest) = name.split_at_checked(2).unwrap_or((name, ""));
    root.join(OBJECTS).join(prefix).join(rest)
}

/// The objects that files of an EROFS image are redirected to, by name, with the sizes that the image gives them. `at` is an empty folder.
///
/// # Errors
/// When the image cannot be mounted, or refers to no object.
pub fn objects_of(image: &Path, at: &Path) -> Result<BTreeMap<String, u64>> {
    std::fs::create_dir_all(at)?;
    host::run(host::command("mount").args(["-t", "erofs", "-o", "loop,ro"]).arg(image).arg(at))?;
    let listed = redirects(at);
    host::run(host::command("umount").arg(at))?;
    let found = listed?;
    ensure!(!found.is_empty(), "no file of the image refers to an object");
    Ok(found)
}

fn redirects(mounted: &Path) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    walk(mounted, &mut |path, metadata| {
        let mut value = [0; 512];
        if metadata.is_file()
            && let Ok(length) = rustix::fs::lgetxattr(path, REDIRECT, &mut value)
        {
            let text = String::from_utf8_lossy(value.get(..length).unwrap_or_default()).replace('/', "");
            found.insert(text, metadata.len());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `each` for everything below a folder.
fn walk(folder: &Path, each: &mut impl FnMut(&Path, &std::fs::Metadata) -> Result<()>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        each(&path, &metadata)?;
        if metadata.is_dir() {
            walk(&path, each)?;
        }
    }
    Ok(())
}

/// Kind, size and target of everything in a folder, by its path in it; `each` is called for all of it.
///
/// # Errors
/// When something cannot be read.
pub fn listing(
    folder: &Path,
    each: &mut impl FnMut(&Path, &std::fs::Metadata) -> Result<()>,
) -> Result<BTreeMap<PathBuf, String>> {
    let mut all = BTreeMap::new();
    walk(folder, &mut |path, metadata| {
        let name = path.strip_prefix(folder).unwrap_or(path).to_owned();
        let what = if metadata.is_symlink() {
            format!("-> {}", String::from_utf8_lossy(std::fs::read_link(path)?.as_os_str().as_bytes()))
        } else if metadata.is_file() {
            format!("{} bytes", metadata.len())
        } else {
            "folder".to_owned()
        };
        all.insert(name, what);
        each(path, metadata)
    })?;
    Ok(all)
}

/// The fs-verity digest with SHA-256, blocks of 4096 bytes and no salt (Documentation/filesystems/fsverity.rst, "fs-verity descriptor").
pub fn verity_digest(content: &[u8]) -> String {
    const BLOCK: usize = 4096;
    let mut level: Vec<[u8; 32]> = content.chunks(BLOCK).map(padded).collect();
    while level.len() > 1 {
        level = level.concat().chunks(BLOCK).map(padded).collect();
    }
    let mut descriptor = vec![1, 1, 12, 0, 0, 0, 0, 0];
    descriptor.extend((content.len() as u64).to_le_bytes());
    descriptor.extend(level.first().copied().unwrap_or_default());
    descriptor.resize(256, 0);
    hex::encode(Sha256::digest(&descriptor))
}

/// Digest of a block that is filled up with zeros.
fn padded(block: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(block);
    hash.update(vec![0; 4096 - block.len()]);
    hash.finalize().into()
}

/// A tree that is an EROFS image with its objects: each has to have the digest that is its name.
pub(super) fn objects(sysroot: &Path, live: &LiveRoot) -> Result<String> {
    let folder = live.etc.parent().and_then(Path::file_name).context("a deployment's folder")?;
    let image = folder.to_string_lossy().into_owned();
    let content = verified(sysroot, &image)?;
    for name in known_objects(&image, &content)? {
        verified(sysroot, &name)?;
    }
    Ok(image)
}

/// The content of an object, which has to have its digest.
fn verified(sysroot: &Path, name: &str) -> Result<Vec<u8>> {
    let content = std::fs::read(object(sysroot, name));
    let content = content.with_context(|| format!("the object {name} is missing"))?;
    let found = verity_digest(&content);
    ensure!(found == name, "the object {name} has the digest {found}");
    Ok(content)
}

/// Names of the objects of an image. What a digest names never changes, so each is mounted once: a copy, so that nothing holds the disk.
fn known_objects(image: &str, content: &[u8]) -> Result<Vec<String>> {
    static KNOWN: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(names) = known.get(image) {
        return Ok(names.clone());
    }
    let scratch = tempfile::Builder::new().prefix("bootwright-suite-").tempdir_in(host::scratch())?;
    let copy = scratch.path().join("image");
    std::fs::write(&copy, content)?;
    let names: Vec<_> = objects_of(&copy, &scratch.path().join("mounted"))?.into_keys().collect();
    known.insert(image.to_owned(), names.clone());
    Ok(names)
}

/// A tree that is one file, and nothing else: its digest.
///
/// # Errors
/// When it cannot be read.
pub fn file(path: &Path) -> Result<String> {
    let content = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(content)))
}

/// A tree that is a folder: a digest over all that is in its `/usr`.
pub(super) fn folder(_: &Path, live: &LiveRoot) -> Result<String> {
    let root = live.root.as_deref().context("a root that is a folder")?;
    let mut content = Sha256::new();
    let all = listing(&root.join("usr"), &mut |path, metadata| {
        if metadata.is_file() {
            content.update(std::fs::read(path)?);
        }
        Ok(())
    })?;
    content.update(format!("{all:?}"));
    Ok(hex::encode(content.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are what `fsverity digest` prints.
    #[test]
    fn a_verity_digest_is_that_of_the_kernel() {
        let empty = "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95";
        assert_eq!(verity_digest(&[]), empty);
    }

    #[test]
    fn a_folder_whose_file_changed_in_place_is_another_tree() {
        let made = tempfile::tempdir().unwrap();
        std::fs::create_dir(made.path().join("usr")).unwrap();
        let live = LiveRoot { etc: PathBuf::new(), var: PathBuf::new(), root: Some(made.path().to_owned()) };
        let digest = |text: &str| {
            std::fs::write(made.path().join("usr/a"), text).unwrap();
            folder(Path::new("/"), &live).unwrap()
        };
        assert_eq!(digest("one"), digest("one"));
        assert_ne!(digest("one"), digest("0ne"));
    }
}
