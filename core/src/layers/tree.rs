//! [`LayerTree`]: the tree that layers make together.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    ops::Bound,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use super::{Entry, Kind, Span};
use crate::{
    error::{Error, Result},
    etc_merge::{Content, EtcTree, FileContent, Node, NodeKind},
    tree::{Reader, TreeReader},
};

/// As the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// An entry, and the layer that put it there.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub entry: Entry,
    pub layer: usize,
}

/// The tree that layers make together. Paths are relative to its root and clean; those of folders come before what is in them.
#[derive(Debug, Clone)]
pub struct LayerTree {
    pub(super) nodes: BTreeMap<PathBuf, Placed>,
    layers: Vec<Arc<File>>,
}

impl LayerTree {
    /// Reads layers, the lowest first: tar files, not compressed, which the tree keeps open.
    ///
    /// # Errors
    /// `InvalidInput` for a malformed layer, naming its place.
    pub fn read(layers: Vec<File>) -> Result<Self> {
        let nodes = BTreeMap::from([(PathBuf::new(), Placed { entry: Entry::implied(), layer: 0 })]);
        let mut tree = Self { nodes, layers: Vec::new() };
        for (number, file) in layers.into_iter().enumerate() {
            tree.apply(number, &file).map_err(|error| error.with_context("layer", number + 1))?;
            tree.layers.push(Arc::new(file));
        }
        Ok(tree)
    }

    /// Everything, by path; the root comes first, with an empty path.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.nodes.iter().map(|(path, placed)| (path.as_path(), &placed.entry))
    }

    /// What is at `path`, links followed as if the tree were the root.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Entry> {
        Some(&self.nodes.get(&self.resolve(path.as_ref())?)?.entry)
    }

    /// Where the content of the regular file at `path` lies, links followed.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<Span> {
        match self.get(path)?.kind {
            Kind::File(span) => Some(span),
            _ => None,
        }
    }

    /// The content of a file of this tree.
    ///
    /// # Errors
    /// `Internal` for a span of another tree.
    pub fn open(&self, span: &Span) -> Result<Reader> {
        let layer =
            self.layers.get(span.layer).ok_or_else(|| Error::internal("no such layer in this tree"))?;
        Ok(span.open(layer))
    }

    /// Names in the folder at `path`, sorted, links followed; empty if it is not a folder. Names that are not UTF-8 are passed over.
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Some(folder) = self.resolve(path.as_ref()) else { return Vec::new() };
        let children = self.below(&folder).filter(|(path, _)| path.parent() == Some(&folder));
        children.filter_map(|(path, _)| path.file_name()?.to_str().map(str::to_owned)).collect()
    }

    /// The folder at `path` with everything in it, its files read once for their digests. `None` if it is not there.
    ///
    /// # Errors
    /// Those of reading the layers.
    pub fn subtree(&self, path: impl AsRef<Path>) -> Result<Option<EtcTree>> {
        let Some(top) = self.resolve(path.as_ref()) else { return Ok(None) };
        let Some(Placed { entry: Entry { kind: Kind::Directory, metadata }, .. }) = self.nodes.get(&top)
        else {
            return Ok(None);
        };
        let mut copy = EtcTree::new(metadata.clone());
        for (path, placed) in self.below(&top) {
            let path = path.strip_prefix(&top).unwrap_or(path);
            let kind = self.etc_kind(&placed.entry.kind)?;
            copy.insert(path, Node { kind, metadata: placed.entry.metadata.clone() })?;
        }
        Ok(Some(copy))
    }

    fn etc_kind(&self, kind: &Kind) -> Result<NodeKind> {
        Ok(match kind {
            Kind::Directory => NodeKind::Directory,
            Kind::Symlink(target) => NodeKind::Symlink(target.clone()),
            Kind::Special(special) => NodeKind::Special(*special),
            Kind::File(span) => {
                let layer = self.layers.get(span.layer).cloned();
                let layer = layer.ok_or_else(|| Error::internal("no such layer in this tree"))?;
                let span = *span;
                NodeKind::File(FileContent::measure(Content::stored(move || Ok(span.open(&layer))))?)
            }
        })
    }

    /// What is below `path`, which is clean and free of links.
    pub(super) fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Placed)> {
        let rest = self.nodes.range::<Path, _>((Bound::Excluded(path), Bound::Unbounded));
        rest.map(|(path, placed)| (path.as_path(), placed))
            .take_while(move |(found, _)| found.starts_with(path))
    }

    /// The path of what `path` leads to, all links followed inside the tree. `None` if there is nothing.
    pub(super) fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut todo = parts(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            match &self.nodes.get(&next)?.entry.kind {
                Kind::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if Path::new(target).is_absolute() {
                        done.clear();
                    }
                    todo.extend(parts(Path::new(target)));
                }
                Kind::Directory => done = next,
                _ if todo.is_empty() => done = next,
                _ => return None,
            }
        }
        Some(done)
    }
}

/// Names of a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    names.map(|c| AsRef::<OsStr>::as_ref(&c).to_owned()).collect()
}

#[async_trait]
impl TreeReader for LayerTree {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        self.file(path).map(|span| LayerTree::open(self, &span)).transpose()
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        Ok(self.names(path))
    }
}
