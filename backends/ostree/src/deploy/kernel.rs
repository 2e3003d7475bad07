//! Kernels as libostree wants them.
//!
//! libostree deploys nothing without `/usr/lib/modules/<version>/vmlinuz`, and names its links by the checksum of what it finds there. An image that has
//! a UKI only gets a commit of its own, in which the UKI is found at that place as well. Nobody boots it from there.

use bootwright_core::{
    error::{Error, ErrorKind, IoContext, Result},
    fs::hash_into,
    image_kernel::{ImageFiles, ImageKernel},
    model::KernelArtifacts,
};
use ostree_ext::{
    gio::{Cancellable, prelude::*},
    glib, ostree,
};
use sha2::{Digest as _, Sha256};

use super::files::CommitFiles;
use crate::errors::LibraryContext as _;

const MODULES: &str = "usr/lib/modules";
const KERNEL: &str = "vmlinuz";
/// What libostree takes for the boot files beside a kernel (`ostree-sysroot-deploy.c`, `get_kernel_from_tree_usrlib_modules`).
const BESIDE: [&str; 2] = ["initramfs.img", "devicetree"];

/// The kernel versions for which libostree would find a kernel.
fn versions(files: &CommitFiles<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for version in files.names(MODULES)? {
        if files.is_file(&format!("{MODULES}/{version}/{KERNEL}"))? {
            found.push(version);
        }
    }
    Ok(found)
}

/// The checksum by which libostree names the links of this commit.
pub(crate) fn boot_checksum(files: &CommitFiles<'_>) -> Result<String> {
    let version =
        versions(files)?.pop().ok_or_else(|| Error::internal("a commit to deploy has no kernel"))?;
    let mut hash = Sha256::new();
    for name in std::iter::once(KERNEL).chain(BESIDE) {
        if let Some(mut file) = files.open(&format!("{MODULES}/{version}/{name}"))? {
            hash_into(&mut file.reader, &mut hash).context_io(|| format!("read {name} of the image"))?;
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// The commit that libostree can deploy: this one, or one like it with the UKI as a kernel. Made again, it is the same.
pub(crate) fn deployable(
    repo: &ostree::Repo,
    files: &CommitFiles<'_>,
    commit: &str,
    kernel: &ImageKernel,
) -> Result<String> {
    let KernelArtifacts::Unified { kver, .. } = &kernel.artifacts else { return Ok(commit.to_owned()) };
    if !versions(files)?.is_empty() {
        return Ok(commit.to_owned());
    }
    let version = version_for(files, kver.as_deref())?;
    let uki = files.checksum(&kernel.path)?.ok_or_else(|| Error::internal("a UKI went away"))?;
    let there = |path: &str| files.is_folder(path).unwrap_or_default();
    let what = || "commit the image with its UKI as a kernel".to_owned();
    let transaction = repo.auto_transaction(Cancellable::NONE).or_kind(ErrorKind::Io, what)?;
    let made = with_kernel(repo, commit, &version, &uki, there).or_kind(ErrorKind::Io, what)?;
    transaction.commit(Cancellable::NONE).or_kind(ErrorKind::Io, what)?;
    Ok(made)
}

fn version_for(files: &CommitFiles<'_>, kver: Option<&str>) -> Result<String> {
    let mut known = files.names(MODULES)?;
    let plain = |text: &&str| !text.is_empty() && !text.contains('/') && !text.starts_with('.');
    match (kver.filter(plain), known.pop()) {
        (Some(kver), _) => Ok(kver.to_owned()),
        (None, Some(only)) if known.is_empty() => Ok(only),
        _ => Err(Error::invalid("the UKI in the image does not say which kernel is in it")
            .with_hint("build it with `ukify --uname`")),
    }
}

fn with_kernel(
    repo: &ostree::Repo,
    commit: &str,
    version: &str,
    uki: &str,
    there: impl Fn(&str) -> bool,
) -> std::result::Result<String, glib::Error> {
    let tree = ostree::MutableTree::from_commit(repo, commit)?;
    let mut folder = tree;
    let top = folder.clone();
    let mut path = String::new();
    for name in MODULES.split('/').chain([version]) {
        path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let above = folder.metadata_checksum();
        folder = folder.ensure_dir(name)?;
        // A folder that is new has no metadata yet, and must not be asked for it.
        if !there(&path) {
            folder.set_metadata_checksum(&above);
        }
    }
    folder.replace_file(KERNEL, uki)?;
    let root = repo.write_mtree(&top, Cancellable::NONE)?;
    let root = root.downcast_ref::<ostree::RepoFile>().ok_or_else(|| {
        glib::Error::new(ostree_ext::gio::IOErrorEnum::Failed, "the tree that was written is none")
    })?;
    let (source, _) = repo.load_commit(commit)?;
    let time = ostree::commit_get_timestamp(&source);
    let made = repo.write_commit_with_time(Some(commit), None, None, None, root, time, Cancellable::NONE)?;
    Ok(made.into())
}
