//! The files of a commit: found by path, links followed inside only, content read from the object.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    image_kernel::{ImageFile, ImageFiles},
    tree::{Reader, TreeReader},
};
use ostree_ext::{
    gio::{self, Cancellable, prelude::*},
    ostree,
};

use super::blob;
use crate::{errors::LibraryContext as _, repo::Store};

/// As the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
const ATTRIBUTES: &str = "standard::name,standard::type,standard::size,standard::symlink-target";

/// A commit, opened.
pub(crate) struct CommitFiles<'a> {
    context: &'a BackendContext,
    root: gio::File,
}

/// An entry in a commit.
struct Found {
    file: gio::File,
    info: gio::FileInfo,
}

impl<'a> CommitFiles<'a> {
    /// Opens a commit.
    ///
    /// # Errors
    /// `NotFound` if the repository does not have it.
    pub fn open(context: &'a BackendContext, repo: &ostree::Repo, commit: &str) -> Result<Self> {
        let (root, _) = repo
            .read_commit(commit, Cancellable::NONE)
            .or_kind(ErrorKind::NotFound, || format!("read the commit {commit}"))?;
        Ok(Self { context, root })
    }

    /// Whether a folder is at `path`.
    pub fn is_folder(&self, path: &str) -> Result<bool> {
        Ok(self.lookup(path)?.is_some_and(|found| found.info.file_type() == gio::FileType::Directory))
    }

    /// The checksum of the regular file at `path`.
    pub fn checksum(&self, path: &str) -> Result<Option<String>> {
        self.regular(path)?.map(|found| checksum_of(&found)).transpose()
    }

    fn regular(&self, path: &str) -> Result<Option<Found>> {
        Ok(self.lookup(path)?.filter(|found| found.info.file_type() == gio::FileType::Regular))
    }

    /// The entry at `path`, links followed as if the tree were the root. A commit keeps `/etc` as `/usr/etc`.
    fn lookup(&self, path: &str) -> Result<Option<Found>> {
        let mut todo = parts(path);
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        let mut last = self.query("")?;
        while let Some(name) = todo.pop() {
            if name == ".." {
                done.pop();
                last = self.query(&done.join("/"))?;
                continue;
            }
            let at = if done.is_empty() { name.clone() } else { format!("{}/{name}", done.join("/")) };
            let Some(found) = self.query(&at)? else {
                if at != "etc" {
                    return Ok(None);
                }
                todo.extend(parts("usr/etc"));
                continue;
            };
            if found.info.file_type() == gio::FileType::SymbolicLink {
                links += 1;
                let Some(target) = found.info.symlink_target().filter(|_| links <= MAX_LINKS) else {
                    return Ok(None);
                };
                if target.is_absolute() {
                    done.clear();
                }
                todo.extend(parts(&target.to_string_lossy()));
                last = self.query(&done.join("/"))?;
            } else {
                done.push(name);
                last = Some(found);
            }
        }
        Ok(last)
    }

    fn query(&self, path: &str) -> Result<Option<Found>> {
        let file = if path.is_empty() {
            self.root.clone()
        } else {
            self.root.resolve_relative_path(Path::new(path))
        };
        let flags = gio::FileQueryInfoFlags::NOFOLLOW_SYMLINKS;
        match file.query_info(ATTRIBUTES, flags, Cancellable::NONE) {
            Ok(info) => Ok(Some(Found { file, info })),
            Err(error)
                if error.matches(gio::IOErrorEnum::NotFound)
                    || error.matches(gio::IOErrorEnum::NotDirectory) =>
            {
                Ok(None)
            }
            Err(error) => {
                Err(error).or_kind(ErrorKind::Integrity, || format!("look at /{path} of the image"))
            }
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let what = || format!("list /{folder} of the image");
        let Some(found) = self.lookup(folder)? else { return Ok(Vec::new()) };
        if found.info.file_type() != gio::FileType::Directory {
            return Ok(Vec::new());
        }
        let flags = gio::FileQueryInfoFlags::NOFOLLOW_SYMLINKS;
        let entries = found
            .file
            .enumerate_children("standard::name", flags, Cancellable::NONE)
            .or_kind(ErrorKind::Integrity, what)?;
        let mut names = Vec::new();
        while let Some(info) = entries.next_file(Cancellable::NONE).or_kind(ErrorKind::Integrity, what)? {
            names.extend(info.name().into_os_string().into_string().ok());
        }
        names.sort();
        Ok(names)
    }
}

/// Names of a path, last first.
fn parts(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect()
}

fn checksum_of(found: &Found) -> Result<String> {
    let file = found.file.downcast_ref::<ostree::RepoFile>();
    file.map(|file| file.checksum().into()).ok_or_else(|| Error::internal("a file of a commit is none"))
}

impl ImageFiles for CommitFiles<'_> {
    fn names(&self, folder: &str) -> Result<Vec<String>> {
        self.list(folder)
    }

    fn is_file(&self, path: &str) -> Result<bool> {
        Ok(self.regular(path)?.is_some())
    }

    fn open(&self, path: &str) -> Result<Option<ImageFile>> {
        let Some(found) = self.regular(path)? else { return Ok(None) };
        let checksum = checksum_of(&found)?;
        let size = u64::try_from(found.info.size()).unwrap_or_default();
        let reader = blob::open_object(self.context, &checksum)?;
        Ok(Some(ImageFile { key: blob::key(&checksum), size, reader }))
    }
}

/// The tree of a deployment for others to read; opens the repository anew for each question.
#[derive(Debug)]
pub(crate) struct CommitTree {
    context: Arc<BackendContext>,
    commit: String,
}

impl CommitTree {
    /// The tree of a commit.
    pub fn new(context: Arc<BackendContext>, commit: String) -> Self {
        Self { context, commit }
    }

    fn with<T>(&self, ask: impl FnOnce(&CommitFiles<'_>) -> Result<T>) -> Result<T> {
        let repo = Store::new(self.context.sysroot.clone()).open()?;
        ask(&CommitFiles::open(&self.context, &repo, &self.commit)?)
    }
}

#[async_trait]
impl TreeReader for CommitTree {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        self.with(|files| Ok(ImageFiles::open(files, path)?.map(|file| file.reader)))
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        self.with(|files| files.list(path))
    }
}
