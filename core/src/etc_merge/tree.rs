//! [`EtcTree`]: what is in an `/etc`, without saying where it is kept.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, IoContext, Result},
    fs::{Protection, hash_into},
    model::Digest,
    tree::Reader,
};

/// Extended attributes by full name (`user.comment`).
pub type Xattrs = BTreeMap<OsString, Vec<u8>>;

/// A leftover of the container's build, after which systemd would believe that `/etc` was updated for this system already
/// (`ConditionNeedsUpdate=` in systemd.unit(5)).
const UPDATED_STAMP: &str = ".updated";

/// The label that the policy, not a person, gives to each file.
pub(super) const SELINUX_LABEL: &str = "security.selinux";

/// Everything about a file but its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky (`0o7777`). Symbolic links have none; it is ignored there.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Whether nobody may change it. No image has that; whoever sets it made a change.
    pub protection: Protection,
    /// Time of the last change of the content, in seconds and nanoseconds since 1970. Never compared; kept if known.
    pub mtime: Option<(i64, u32)>,
}

impl Metadata {
    /// Metadata with this mode, owned by root.
    pub fn with_mode(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }

    fn same_as(&self, other: &Self, compare_mode: bool) -> bool {
        (self.uid, self.gid, self.protection) == (other.uid, other.gid, other.protection)
            && (!compare_mode || self.mode & 0o7777 == other.mode & 0o7777)
            && self.set_by_people().eq(other.set_by_people())
    }

    fn set_by_people(&self) -> impl Iterator<Item = (&OsString, &Vec<u8>)> {
        self.xattrs.iter().filter(|(name, _)| *name != SELINUX_LABEL)
    }
}

/// Where the bytes of a file are.
#[derive(Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a store that does not change: checked against the digest when copied.
    Stored(Opener),
    /// In a folder that others may still write to. Copied as it is by then, or left out if it is gone by then.
    Live(Opener),
}

/// Opens the bytes of one file; called once per copy.
pub type Opener = Arc<dyn Fn() -> Result<Reader> + Send + Sync>;

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            Self::Stored(_) => "Stored",
            Self::Live(_) => "Live",
        })
    }
}

impl Content {
    /// Content that `open` gives, from a store that does not change.
    pub fn stored(open: impl Fn() -> Result<Reader> + Send + Sync + 'static) -> Self {
        Self::Stored(Arc::new(open))
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// Those of the store or folder; `NotFound` if a file of a folder is gone.
    pub fn open(&self) -> Result<Reader> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(std::io::Cursor::new(Arc::clone(bytes)))),
            Self::Stored(open) | Self::Live(open) => open(),
        }
    }
}

/// A regular file's content and its identity.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content: what is compared.
    pub sha256: Digest,
    /// Where the bytes are.
    pub content: Content,
}

impl FileContent {
    /// A small file in memory.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let sha256 = Digest::of(&bytes);
        Self { size: bytes.len() as u64, sha256, content: Content::Bytes(bytes) }
    }

    /// Reads `content` once to learn its size and digest.
    ///
    /// # Errors
    /// Those of [`Content::open`] and of reading.
    pub fn measure(content: Content) -> Result<Self> {
        let mut reader = content.open()?;
        let (sha256, size) = hash_into(&mut reader, &mut std::io::sink())
            .context_io(|| "read a file of /etc to compare it".to_owned())?;
        Ok(Self { size, sha256, content })
    }
}

/// Things that are neither file, folder nor link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket's name. Recorded, never made again: without the process that listens it means nothing.
    Socket,
    /// A character device and its number.
    CharDevice(u64),
    /// A block device and its number.
    BlockDevice(u64),
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// A folder.
    Directory,
    /// A regular file. Hard links are separate files.
    File(FileContent),
    /// A symbolic link with its target, which need not exist.
    Symlink(OsString),
    /// Anything else.
    Special(Special),
}

/// One entry of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Mode, owner, attributes, time.
    pub metadata: Metadata,
}

impl Node {
    /// A folder.
    pub fn directory(metadata: Metadata) -> Self {
        Self { kind: NodeKind::Directory, metadata }
    }

    /// A regular file.
    pub fn file(content: FileContent, metadata: Metadata) -> Self {
        Self { kind: NodeKind::File(content), metadata }
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<OsString>, metadata: Metadata) -> Self {
        Self { kind: NodeKind::Symlink(target.into()), metadata }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }

    /// Whether a person would call them equal: all but times and the `SELinux` label.
    pub fn same_as(&self, other: &Self) -> bool {
        let (same_kind, compare_mode) = match (&self.kind, &other.kind) {
            (NodeKind::Directory, NodeKind::Directory) => (true, true),
            (NodeKind::File(a), NodeKind::File(b)) => (a.size == b.size && a.sha256 == b.sha256, true),
            (NodeKind::Symlink(a), NodeKind::Symlink(b)) => (a == b, false),
            (NodeKind::Special(a), NodeKind::Special(b)) => (a == b, true),
            _ => (false, true),
        };
        same_kind && self.metadata.same_as(&other.metadata, compare_mode)
    }
}

/// A whole `/etc`: paths relative to it, each with its node, parents before children.
///
/// Always well-formed: the empty path is `/etc` itself, and the parent of every other path is in the tree and a folder.
#[derive(Debug, Clone)]
pub struct EtcTree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl EtcTree {
    /// An empty `/etc` with this metadata.
    pub fn new(root: Metadata) -> Self {
        Self { nodes: BTreeMap::from([(PathBuf::new(), Node::directory(root))]) }
    }

    /// Adds an entry, or replaces one that has nothing below it.
    ///
    /// # Errors
    /// `InvalidInput` if `path` is absolute or empty, has `..` or a NUL in it, if its parent is not a folder that was
    /// added before, or if a folder with entries would become something else.
    pub fn insert(&mut self, path: impl AsRef<Path>, node: Node) -> Result<()> {
        let path = path.as_ref();
        let refused = |why: &str| Error::invalid(format!("{}, in a tree of /etc, {why}", path.display()));
        let clean = clean(path).ok_or_else(|| refused("is not a path below it"))?;
        let parent = clean.parent().and_then(|parent| self.nodes.get(parent));
        if !parent.is_some_and(Node::is_directory) {
            return Err(refused("has no folder above it"));
        }
        if !node.is_directory() && self.below(&clean).next().is_some() {
            return Err(refused("still has entries below it"));
        }
        self.nodes.insert(clean, node);
        Ok(())
    }

    /// The entry at `path`; the empty path is `/etc` itself.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Node> {
        self.nodes.get(path.as_ref())
    }

    /// Every entry, `/etc` itself (the empty path) first, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// The entries below `path`, without itself.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Node)> {
        // Paths are ordered by component, so that what is below a path follows it without a gap.
        let from = (std::ops::Bound::Excluded(path), std::ops::Bound::Unbounded);
        let rest = self.nodes.range::<Path, _>(from);
        rest.take_while(move |(p, _)| p.starts_with(path)).map(|(p, node)| (p.as_path(), node))
    }

    /// Number of entries, `/etc` itself included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// What an image's `/etc` is as a default: without what only its build meant.
    #[must_use]
    pub fn without_build_leftovers(mut self) -> Self {
        self.nodes.retain(|path, _| !path.starts_with(UPDATED_STAMP));
        self
    }

    /// Whether both have the same paths, with equal entries in the sense of [`Node::same_as`].
    pub fn same_as(&self, other: &Self) -> bool {
        let pairs = self.nodes.iter().zip(&other.nodes);
        self.len() == other.len() && pairs.into_iter().all(|((p, a), (q, b))| p == q && a.same_as(b))
    }
}

/// `path` without doubled slashes and dots, or `None` if it is not a path below a folder.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if !name.as_encoded_bytes().contains(&0) => clean.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, text: &str) -> Node {
        Node::file(FileContent::from_bytes(text.as_bytes()), Metadata::with_mode(mode))
    }

    #[test]
    fn a_tree_refuses_entries_that_could_not_exist() {
        let mut tree = EtcTree::new(Metadata::with_mode(0o755));
        tree.insert("a", Node::directory(Metadata::default())).unwrap();
        tree.insert("a/b", file(0o644, "")).unwrap();
        for bad in ["", ".", "/x", "../x", "a/../x", "x/y", "a/b/c", "x\0"] {
            assert!(tree.insert(bad, file(0o644, "")).is_err(), "{bad:?} was accepted");
        }
        tree.insert("a", file(0o644, "")).unwrap_err();
        assert_eq!(tree.len(), 3);
    }

    #[test]
    fn below_stops_at_names_that_only_start_alike() {
        let mut tree = EtcTree::new(Metadata::default());
        for path in ["a", "a/x", "a/x/y", "a-b", "a.d", "ab"] {
            tree.insert(path, Node::directory(Metadata::default())).unwrap();
        }
        let below: Vec<_> = tree.below(Path::new("a")).map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(below, ["a/x", "a/x/y"]);
    }

    #[test]
    fn times_and_selinux_labels_do_not_count_as_changes() {
        let mut other = file(0o644, "x");
        other.metadata.mtime = Some((1, 2));
        other.metadata.xattrs.insert(SELINUX_LABEL.into(), b"etc_t".to_vec());
        assert!(file(0o644, "x").same_as(&other));
        other.metadata.xattrs.insert("user.a".into(), Vec::new());
        assert!(!file(0o644, "x").same_as(&other));
    }

    #[test]
    fn mode_owner_content_and_kind_count_as_changes() {
        let base = file(0o644, "x");
        let mut owned = base.clone();
        owned.metadata.gid = 1;
        let link = Node::symlink("x", Metadata::with_mode(0o644));
        for other in [file(0o4644, "x"), file(0o644, "y"), owned, link] {
            assert!(!base.same_as(&other), "{other:?}");
        }
    }
}
