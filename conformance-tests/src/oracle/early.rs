//! What early boot does: from a kernel command line to the root that it names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::tree;

/// Folders of the running system on the physical root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRoot {
    /// Its `/etc`.
    pub etc: PathBuf,
    /// Its `/var`.
    pub var: PathBuf,
    /// The folder that is its root, for early boots that need no file system over it.
    pub root: Option<PathBuf>,
}

/// One way of naming a root.
#[derive(Debug, Clone, Copy)]
pub struct EarlyBoot {
    /// The argument (`composefs`), without what follows the equals sign.
    pub argument: &'static str,
    /// Finds the root below the physical root, or says why the machine would not come up.
    pub find: fn(sysroot: &Path, value: &str) -> Result<LiveRoot>,
    /// Looks whether the tree of what it found is whole, and says what tells it from any other: the same for the same tree, wherever it lies.
    pub tree: fn(sysroot: &Path, live: &LiveRoot) -> Result<String>,
}

inventory::submit! { EarlyBoot { argument: "composefs", find: composefs, tree: tree::objects } }
inventory::submit! { EarlyBoot { argument: "composefs.digest", find: composefs, tree: tree::objects } }
inventory::submit! { EarlyBoot { argument: "ostree", find: ostree, tree: tree::folder } }

/// The root that a command line names.
///
/// # Errors
/// When it names none, or one that is not there.
pub fn live_root(sysroot: &Path, cmdline: &str) -> Result<LiveRoot> {
    let (way, word) = named(cmdline)?;
    found(way, sysroot, word)
}

/// The same with what tells its tree from any other; see [`EarlyBoot::tree`].
///
/// # Errors
/// As [`live_root`], and when something of the tree is missing or damaged.
pub fn tree_of(sysroot: &Path, cmdline: &str) -> Result<(LiveRoot, String)> {
    let (way, word) = named(cmdline)?;
    let live = found(way, sysroot, word)?;
    let tree = (way.tree)(sysroot, &live).with_context(|| format!("the tree of {word}"))?;
    Ok((live, tree))
}

/// The first word that names a root, and the way in which it does.
fn named(cmdline: &str) -> Result<(&'static EarlyBoot, &str)> {
    let way = |word: &str| inventory::iter::<EarlyBoot>().find(|way| way.argument == key(word));
    let mut found = cmdline.split_whitespace().filter_map(|word| Some((way(word)?, word)));
    found.next().with_context(|| format!("no argument of {cmdline:?} names a root"))
}

fn found(way: &EarlyBoot, sysroot: &Path, word: &str) -> Result<LiveRoot> {
    let value = word.split_once('=').map_or("", |(_, value)| value);
    (way.find)(sysroot, value).with_context(|| format!("early boot with {word}"))
}

fn key(word: &str) -> &str {
    word.split_once('=').map_or(word, |(key, _)| key)
}

/// Whether a word of a command line names a root.
pub fn names_root(word: &str) -> bool {
    inventory::iter::<EarlyBoot>().any(|way| way.argument == key(word))
}

/// An EROFS image by its digest, and a folder of that name for what can be written.
fn composefs(sysroot: &Path, value: &str) -> Result<LiveRoot> {
    let digest = value.rsplit(':').next().unwrap_or(value).trim_start_matches('?');
    let image = sysroot.join("composefs/images").join(digest);
    ensure!(image.exists(), "{} is missing", image.display());
    let folder = sysroot.join("state/deploy").join(digest);
    existing(folder.join("etc"), folder.join("var"))
}

/// A link below `/ostree/boot.N` that leads to a folder with the tree.
fn ostree(sysroot: &Path, value: &str) -> Result<LiveRoot> {
    let link = sysroot.join(value.trim_start_matches('/'));
    let folder = link.canonicalize().with_context(|| format!("{} leads nowhere", link.display()))?;
    let stateroot = folder.ancestors().nth(2).context("a stateroot above the deployment")?;
    ensure!(folder.join("usr").is_dir(), "{} has no /usr", folder.display());
    Ok(LiveRoot { root: Some(folder.clone()), ..existing(folder.join("etc"), stateroot.join("var"))? })
}

fn existing(etc: PathBuf, var: PathBuf) -> Result<LiveRoot> {
    for folder in [&etc, &var] {
        ensure!(folder.is_dir(), "{} is missing", folder.display());
    }
    Ok(LiveRoot { etc, var, root: None })
}
