//! Trees in memory: finding files in them, following links inside only, and reading their content from the object store.

use std::{
    ffi::{OsStr, OsString},
    io::{Cursor, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Component, Path},
    sync::Arc,
};

use async_trait::async_trait;
use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, IoContext, Result},
    tree::{Reader, TreeReader},
};
use composefs::{
    fsverity::{CompareVerityError, FsVerityHashValue, ensure_verity_equal},
    repository::Repository,
    tree::{FileSystem, Inode, LeafContent, RegularFile},
};
use rustix::fs::{Mode, OFlags};

use crate::{errors::LibraryContext, repo};

/// As the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Opens objects without holding the repository's lock, so that a reader never keeps garbage from being collected.
#[derive(Debug)]
pub(crate) struct Objects {
    folder: OwnedFd,
    secure: bool,
}

impl Objects {
    /// The objects of an open repository.
    pub fn of<H: FsVerityHashValue>(context: &BackendContext, repo: &Repository<H>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { folder: repo::open_folder(context)?, secure: !repo.is_insecure() }))
    }

    /// Opens an object; in a repository that can verify, its digest is compared first.
    pub fn open<H: FsVerityHashValue>(&self, id: &H) -> Result<std::fs::File> {
        let path = format!("objects/{}", id.to_object_pathname());
        let file = rustix::fs::openat(&self.folder, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context_io(|| format!("open object {}", id.to_hex()))?;
        if self.secure {
            ensure_verity_equal(file.as_fd(), id).map_err(|error| unequal(&id.to_hex(), error))?;
        }
        Ok(file.into())
    }

    /// Opens the content of a regular file.
    pub fn reader<H: FsVerityHashValue>(&self, file: &RegularFile<H>) -> Result<Reader> {
        Ok(match file {
            RegularFile::Inline(bytes) => Box::new(Cursor::new(bytes.clone())),
            RegularFile::External(id, _) | RegularFile::ExternalNoVerity(id, _) => Box::new(self.open(id)?),
            RegularFile::Sparse(size) => Box::new(std::io::repeat(0).take(*size)),
        })
    }
}

fn unequal(id: &str, error: CompareVerityError) -> Error {
    Error::integrity(format!("object {id} is not what its name says"))
        .with_hint("find out what else is damaged with `bootwright fsck`")
        .with_source(error)
}

/// Reads the tree of an EROFS image.
pub(crate) fn read_image<H: FsVerityHashValue>(repo: &Repository<H>, hex: &str) -> Result<FileSystem<H>> {
    let what = || format!("read the image {hex}");
    let (file, _) = repo.open_image(hex).or_kind(ErrorKind::Integrity, what)?;
    let mut data = Vec::new();
    std::fs::File::from(file).read_to_end(&mut data).context_io(what)?;
    composefs::erofs::reader::erofs_to_filesystem(&data).or_kind(ErrorKind::Integrity, what)
}

/// The entry at `path`, links followed as if the tree were the root. `None` if nothing is there.
pub(crate) fn lookup<'a, H: FsVerityHashValue>(tree: &'a FileSystem<H>, path: &str) -> Option<&'a Inode<H>> {
    let mut todo: Vec<OsString> = parts(Path::new(path));
    let mut done: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            done.pop();
            continue;
        }
        let found = directory(tree, &done)?.lookup(&name)?;
        match link_target(tree, found) {
            Some(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.is_absolute() {
                    done.clear();
                }
                todo.extend(parts(target));
            }
            None if todo.is_empty() => return Some(found),
            None => done.push(name),
        }
    }
    None
}

/// Names of a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    names.map(|c| c.as_os_str().to_owned()).collect()
}

fn directory<'a, H: FsVerityHashValue>(
    tree: &'a FileSystem<H>,
    names: &[OsString],
) -> Option<&'a composefs::tree::Directory<H>> {
    let mut found = &tree.root;
    for name in names {
        match found.lookup(name)? {
            Inode::Directory(next) => found = next,
            Inode::Leaf(..) => return None,
        }
    }
    Some(found)
}

fn link_target<'a, H: FsVerityHashValue>(tree: &'a FileSystem<H>, inode: &Inode<H>) -> Option<&'a Path> {
    let Inode::Leaf(id, _) = inode else { return None };
    match &tree.leaves.get(id.0)?.content {
        LeafContent::Symlink(target) => Some(Path::new(target.as_ref())),
        _ => None,
    }
}

/// The regular file at `path`.
pub(crate) fn file<'a, H: FsVerityHashValue>(
    tree: &'a FileSystem<H>,
    path: &str,
) -> Option<&'a RegularFile<H>> {
    let Inode::Leaf(id, _) = lookup(tree, path)? else { return None };
    match &tree.leaves.get(id.0)?.content {
        LeafContent::Regular(file) => Some(file),
        _ => None,
    }
}

/// Names in the folder at `path`, sorted; those that are not UTF-8 are passed over.
pub(crate) fn names<H: FsVerityHashValue>(tree: &FileSystem<H>, path: &str) -> Vec<String> {
    let folder = match lookup(tree, path) {
        _ if parts(Path::new(path)).is_empty() => Some(&tree.root),
        Some(Inode::Directory(folder)) => Some(folder.as_ref()),
        _ => None,
    };
    let entries = folder.into_iter().flat_map(composefs::tree::Directory::sorted_entries);
    entries.filter_map(|(name, _)| OsStr::to_str(name)).map(str::to_owned).collect()
}

/// A deployment's tree for others to read.
#[derive(Debug)]
pub(crate) struct ImageTree<H: FsVerityHashValue> {
    /// The tree.
    pub tree: FileSystem<H>,
    /// Where its files' content is.
    pub objects: Arc<Objects>,
}

#[async_trait]
impl<H: FsVerityHashValue> TreeReader for ImageTree<H> {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        file(&self.tree, path).map(|file| self.objects.reader(file)).transpose()
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        Ok(names(&self.tree, path))
    }
}

#[cfg(test)]
mod tests {
    use composefs::{
        fsverity::Sha256HashValue,
        tree::{Directory, Stat},
    };

    use super::*;

    type Tree = FileSystem<Sha256HashValue>;

    fn add(tree: &mut Tree, path: &str, content: LeafContent<Sha256HashValue>) {
        let mut names = parts(Path::new(path));
        let id = tree.push_leaf(Stat::uninitialized(), content);
        let mut folder = &mut tree.root;
        while names.len() > 1 {
            let name = names.pop().unwrap();
            if folder.lookup(&name).is_none() {
                folder.insert(&name, Inode::Directory(Box::new(Directory::new(Stat::uninitialized()))));
            }
            folder = folder.get_directory_mut(&name).unwrap();
        }
        folder.insert(&names[0], Inode::leaf(id));
    }

    fn sample() -> Tree {
        let mut tree = Tree::new(Stat::uninitialized());
        let text = |text: &str| LeafContent::Regular(RegularFile::Inline(text.as_bytes().into()));
        let link = |target: &str| LeafContent::Symlink(OsStr::new(target).into());
        add(&mut tree, "usr/lib/os-release", text("ID=x"));
        add(&mut tree, "etc/os-release", link("../usr/lib/os-release"));
        add(&mut tree, "lib", link("usr/lib"));
        add(&mut tree, "escape", link("../../../usr/lib/os-release"));
        add(&mut tree, "absolute", link("/usr/lib"));
        add(&mut tree, "loop", link("loop"));
        tree
    }

    #[test]
    fn links_are_followed_and_never_leave_the_tree() {
        let tree = sample();
        for path in
            ["etc/os-release", "/lib/os-release", "escape", "absolute/os-release", "usr/../lib/os-release"]
        {
            assert!(file(&tree, path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_or_goes_round_in_circles_is_none() {
        let tree = sample();
        for path in ["loop", "loop/x", "usr/lib/os-release/x", "nothing", "", "/"] {
            assert!(file(&tree, path).is_none(), "{path}");
        }
    }

    #[test]
    fn folders_are_listed_in_order_through_links() {
        let tree = sample();
        assert_eq!(names(&tree, "absolute"), ["os-release"]);
        assert_eq!(names(&tree, ""), ["absolute", "escape", "etc", "lib", "loop", "usr"]);
        assert!(names(&tree, "nothing").is_empty());
    }
}
