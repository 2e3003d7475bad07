//! The tree of a deployment: what belongs to it, and whether all of that is there.
//!
//! Learned once, from a state where nothing was lost. Of files that were there before the recording the presence and the size are compared, since
//! nothing writes their blocks; of newer ones the content.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::{
    grub,
    root_file_system::RootFileSystem,
    scratch::{MountedRoot, ROOT},
};
use crate::{
    host,
    oracle::{
        LiveRoot,
        tree::{OBJECTS, listing, object, objects_of, verity_digest},
    },
};

/// What a tree is made of.
#[derive(Debug, Clone)]
pub enum Tree {
    /// An EROFS image, and objects that are named by their fs-verity digest. The image is the first of `new`.
    Objects {
        /// Name and size in bytes of each object that the image refers to.
        all: BTreeMap<String, u64>,
        /// Those to be read.
        new: Vec<String>,
    },
    /// A folder with files.
    Folder {
        /// Below the physical root.
        at: PathBuf,
        /// What each path below it is: kind, size, target of a link.
        all: BTreeMap<PathBuf, String>,
        /// SHA-256 of those to be read.
        new: BTreeMap<PathBuf, String>,
    },
}

/// Names of what is in the stores already: objects, or files of folders by their inode.
#[derive(Debug, Clone, Default)]
pub struct Before(BTreeSet<String>);

impl Before {
    /// Looks at a physical root.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(root: &Path) -> Result<Self> {
        let mut found = BTreeSet::new();
        for folder in [OBJECTS, "ostree/repo/objects"] {
            let folder = root.join(folder);
            for prefix in std::fs::read_dir(folder).into_iter().flatten() {
                let prefix = prefix?;
                for object in std::fs::read_dir(prefix.path())? {
                    let object = object?;
                    let name = object.file_name().to_string_lossy().into_owned();
                    found.insert(format!("{}{name}", prefix.file_name().to_string_lossy()));
                    found.insert(std::os::unix::fs::DirEntryExt::ino(&object).to_string());
                }
            }
        }
        Ok(Self(found))
    }
}

impl Tree {
    /// Learns what the tree of `live` is made of.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn learn(root: &MountedRoot, live: &LiveRoot, before: &Before, scratch: &Path) -> Result<Self> {
        match &live.root {
            // What never changes of it.
            Some(folder) => Self::learn_folder(root, &folder.join("usr"), before),
            None => learn_objects(root, live, before, scratch),
        }
    }

    /// Learns what is in a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn learn_folder(root: &MountedRoot, folder: &Path, before: &Before) -> Result<Self> {
        let mut new = BTreeMap::new();
        let all = listing(folder, &mut |path, metadata| {
            let inode = std::os::unix::fs::MetadataExt::ino(metadata).to_string();
            if metadata.is_file() && !before.0.contains(&inode) {
                let name = path.strip_prefix(folder).unwrap_or(path).to_owned();
                new.insert(name, hex::encode(Sha256::digest(std::fs::read(path)?)));
            }
            Ok(())
        })?;
        let at = folder.strip_prefix(root.path()).unwrap_or(folder).to_owned();
        Ok(Self::Folder { at, all, new })
    }

    /// Checks that all of it is there. With `thorough`, the sizes of objects that were there before are compared as well, which takes most of the time.
    ///
    /// # Errors
    /// Says what is missing or differs.
    pub fn verify(&self, root: &MountedRoot, scratch: &Path, thorough: bool) -> Result<()> {
        match self {
            Self::Objects { all, new } => {
                verify_names(root.path(), all)?;
                for (name, size) in all.iter().filter(|(name, _)| thorough || new.contains(name)) {
                    let found = object(root.path(), name).metadata();
                    let found = found.with_context(|| format!("the object {name} is missing"))?;
                    ensure!(found.len() == *size, "the object {name} has {} bytes, not {size}", found.len());
                }
                verify_objects(root, new, scratch)
            }
            Self::Folder { at, all, new } => verify_folder(&root.path().join(at), all, new),
        }
    }
}

/// Whether each object has a name in the store.
fn verify_names(root: &Path, all: &BTreeMap<String, u64>) -> Result<()> {
    let mut names = all.keys().peekable();
    while let Some(prefix) = names.peek().and_then(|name| name.get(..2)) {
        let folder = root.join(OBJECTS).join(prefix);
        let listed = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let listed: BTreeSet<_> =
            listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        while let Some(name) = names.next_if(|name| name.starts_with(prefix)) {
            ensure!(listed.contains(name.get(2..).unwrap_or_default()), "the object {name} is missing");
        }
    }
    Ok(())
}

fn learn_objects(root: &MountedRoot, live: &LiveRoot, before: &Before, scratch: &Path) -> Result<Tree> {
    let folder = live.etc.parent().and_then(Path::file_name).context("a deployment's folder")?;
    let image = folder.to_string_lossy().into_owned();
    let file = contents(root, std::slice::from_ref(&image), scratch)?.pop().context("the image")?;
    let mut all = objects_of(&file, &scratch.join("image"))?;
    let mut new: Vec<_> = all.keys().filter(|name| !before.0.contains(*name)).cloned().collect();
    let size = object(root.path(), &image).metadata()?.len();
    all.insert(image.clone(), size);
    new.insert(0, image);
    Ok(Tree::Objects { all, new })
}

/// Files with the content of objects, in a root whose kernel may not know how to open them.
fn contents(root: &MountedRoot, names: &[String], scratch: &Path) -> Result<Vec<PathBuf>> {
    match root.file_system() {
        RootFileSystem::Ext4 => dump(root, names, scratch),
        RootFileSystem::Btrfs => copy(root, names, scratch),
        RootFileSystem::Xfs => Ok(names.iter().map(|name| object(root.path(), name)).collect()),
    }
}

/// Copies them out of a btrfs, past the kernel.
fn copy(root: &MountedRoot, names: &[String], scratch: &Path) -> Result<Vec<PathBuf>> {
    let folder = emptied(root, scratch)?;
    let copy = |(number, name): (usize, &String)| {
        let file = folder.join(number.to_string());
        std::fs::write(&file, grub::read(root.disk(), ROOT, &object(Path::new(""), name))?)?;
        Ok(file)
    };
    names.iter().enumerate().map(copy).collect()
}

/// A folder for copies, once what was mounted is on its disk.
fn emptied(root: &MountedRoot, scratch: &Path) -> Result<PathBuf> {
    rustix::fs::syncfs(std::fs::File::open(root.path())?)?;
    let folder = scratch.join("dump");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Copies them out of an ext4, past the kernel.
fn dump(root: &MountedRoot, names: &[String], scratch: &Path) -> Result<Vec<PathBuf>> {
    let folder = emptied(root, scratch)?;
    let (mut script, mut files) = (String::new(), Vec::new());
    for (number, name) in names.iter().enumerate() {
        let file = folder.join(number.to_string());
        let at = object(Path::new("/"), name);
        writeln!(script, "dump {} {}", at.display(), file.display())?;
        files.push(file);
    }
    let commands = folder.join("commands");
    std::fs::write(&commands, script)?;
    host::run(host::command("debugfs").arg("-f").arg(&commands).arg(root.device()))?;
    Ok(files)
}

fn verify_objects(root: &MountedRoot, names: &[String], scratch: &Path) -> Result<()> {
    for (name, file) in names.iter().zip(contents(root, names, scratch)?) {
        let content = std::fs::read(&file).with_context(|| format!("the object {name} cannot be read"))?;
        let found = verity_digest(&content);
        ensure!(found == *name, "the object {name} has the digest {found}");
    }
    Ok(())
}

fn verify_folder(
    folder: &Path,
    all: &BTreeMap<PathBuf, String>,
    new: &BTreeMap<PathBuf, String>,
) -> Result<()> {
    let found = listing(folder, &mut |_, _| Ok(()))?;
    for (name, what) in all {
        let here = found.get(name).map_or("missing", String::as_str);
        ensure!(here == what, "{} is {here}, not {what}", folder.join(name).display());
    }
    ensure!(found.len() == all.len(), "{} has more files than it should", folder.display());
    for (name, digest) in new {
        let file = folder.join(name);
        let found = hex::encode(Sha256::digest(std::fs::read(&file)?));
        ensure!(found == *digest, "{} has another content", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_or_missing_file_of_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let usr = folder.path().join("usr");
        std::fs::create_dir(&usr).unwrap();
        std::fs::write(usr.join("a"), "one").unwrap();
        std::fs::write(usr.join("b"), "two").unwrap();
        let all = listing(folder.path(), &mut |_, _| Ok(())).unwrap();
        let new = BTreeMap::from([(PathBuf::from("usr/a"), hex::encode(Sha256::digest("one")))]);
        verify_folder(folder.path(), &all, &new).unwrap();
        std::fs::write(usr.join("a"), "0ne").unwrap();
        assert!(verify_folder(folder.path(), &all, &new).unwrap_err().to_string().contains("usr/a"));
        std::fs::write(usr.join("a"), "one").unwrap();
        std::fs::remove_file(usr.join("b")).unwrap();
        assert!(verify_folder(folder.path(), &all, &new).unwrap_err().to_string().contains("usr/b"));
    }
}
