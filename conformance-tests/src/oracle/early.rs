//! What early boot does: from a kernel command line to the root that it names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

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
}

inventory::submit! { EarlyBoot { argument: "composefs", find: composefs } }
inventory::submit! { EarlyBoot { argument: "composefs.digest", find: composefs } }
inventory::submit! { EarlyBoot { argument: "ostree", find: ostree } }

/// The root that a command line names.
///
/// # Errors
/// When it names none, or one that is not there.
pub fn live_root(sysroot: &Path, cmdline: &str) -> Result<LiveRoot> {
    for word in cmdline.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let known = inventory::iter::<EarlyBoot>().find(|way| way.argument == key);
        if let Some(way) = known {
            return (way.find)(sysroot, value).with_context(|| format!("early boot with {word}"));
        }
    }
    anyhow::bail!("no argument of {cmdline:?} names a root")
}

/// Whether a word of a command line names a root.
pub fn names_root(word: &str) -> bool {
    let key = word.split_once('=').map_or(word, |(key, _)| key);
    inventory::iter::<EarlyBoot>().any(|way| way.argument == key)
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
