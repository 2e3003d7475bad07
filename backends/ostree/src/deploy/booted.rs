//! Which deployment runs.

use std::os::unix::fs::MetadataExt as _;

use bootwright_core::{
    context::BackendContext,
    error::Result,
    fs::Root,
    model::{DeploymentId, KernelCmdline},
};

use ostree_ext::glib::{FromVariant, Variant, VariantDict, VariantTy};

use super::record;
use crate::catalogue::Link;

/// The deployment that a command line starts, if it is one of ours.
///
/// A link is where early boot looked, and libostree may have used it for another since, if two lists were published without a reboot. So
/// the running root itself comes first: it is the deployment's folder.
pub(crate) fn booted(context: &BackendContext, cmdline: &KernelCmdline) -> Result<Option<DeploymentId>> {
    let Some(link) = Link::of(cmdline) else { return Ok(None) };
    let Some(commit) = running(context)?.map(|folder| folder.commit).or_else(|| linked(context, &link))
    else {
        return Ok(None);
    };
    let ours = record::all(context)?.into_iter().find(|record| record.commit == commit);
    Ok(ours.map(|record| record.id().clone()))
}

/// What runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// The deployment.
    pub id: DeploymentId,
    /// The slot whose link started it.
    pub slot: u8,
}

/// What the running system was started from, if that is of this store.
pub(crate) fn now(context: &BackendContext) -> Result<Option<Running>> {
    let Some(running) = &context.running_root else { return Ok(None) };
    let Some(text) = running.read_text("proc/cmdline")? else { return Ok(None) };
    let cmdline = KernelCmdline::parse_lossy(&text);
    let Some(link) = Link::of(&cmdline) else { return Ok(None) };
    Ok(booted(context, &cmdline)?.map(|id| Running { id, slot: link.slot }))
}

/// The commit that a link leads to.
pub(crate) fn linked(context: &BackendContext, link: &Link) -> Option<String> {
    let dir = context.sysroot.dir();
    let target = dir.read_link_contents(link.path()).ok()?;
    // Through the link, so that one that leads nowhere is none.
    dir.metadata(link.path()).ok()?;
    commit_of(target.file_name()?.to_str()?)
}

/// What early boot told of what it mounted: a dictionary (`a{sv}`), empty if libostree is old (`OTCORE_RUN_BOOTED` in its
/// src/libotcore/otcore.h).
const EARLY_BOOT: &str = "run/ostree-booted";

fn told<T: FromVariant>(running_root: &Root, key: &str) -> Option<T> {
    let bytes = running_root.read(EARLY_BOOT).ok()??;
    let told = Variant::from_data_with_type(bytes, VariantTy::VARDICT);
    VariantDict::new(Some(&told.normal_form())).lookup(key).ok()?
}

/// Device and inode of the folder that was mounted as root, which is not that folder if the kernel verifies it.
fn mounted(running_root: &Root) -> Option<(u64, u64)> {
    told(running_root, "backing-root-device-inode").or_else(|| identity(running_root))
}

/// Whether the kernel verifies the files of what runs.
pub(crate) fn verifies(context: &BackendContext) -> bool {
    context.running_root.as_ref().and_then(|root| told(root, "composefs.verity")).unwrap_or(false)
}

/// The folder that is the running root.
fn running(context: &BackendContext) -> Result<Option<Folder>> {
    let Some(root) = context.running_root.as_ref().and_then(mounted) else { return Ok(None) };
    let is_root =
        |folder: &Folder| context.sysroot.sub(&folder.path).ok().as_ref().and_then(identity) == Some(root);
    Ok(folders(&context.sysroot)?.into_iter().find(is_root))
}

/// A deployment that is checked out, whether a list has it or not.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Below the physical root.
    pub path: String,
    /// What is checked out there.
    pub commit: String,
}

/// Every folder with a deployment.
pub(crate) fn folders(sysroot: &Root) -> Result<Vec<Folder>> {
    let mut found = Vec::new();
    for stateroot in sysroot.list("ostree/deploy")? {
        let parent = format!("ostree/deploy/{stateroot}/deploy");
        let names = sysroot.list(&parent)?.into_iter();
        found.extend(
            names.filter_map(|name| {
                Some(Folder { path: format!("{parent}/{name}"), commit: commit_of(&name)? })
            }),
        );
    }
    Ok(found)
}

/// Lets libostree remove folders: it stops at files in `/etc` that an administrator made immutable. What runs stays as it is.
pub(crate) fn unprotect(context: &BackendContext, goes: impl Fn(&Folder) -> bool) -> Result<()> {
    let running = running(context)?;
    let folders = folders(&context.sysroot)?.into_iter();
    for folder in folders
        .filter(|folder| goes(folder) && running.as_ref().is_none_or(|running| running.path != folder.path))
    {
        context.sysroot.lift_protection(&format!("{}/etc", folder.path))?;
    }
    Ok(())
}

/// Device and inode.
fn identity(root: &Root) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(root.proc_path()).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Folders are named `<commit>.<serial>`.
fn commit_of(name: &str) -> Option<String> {
    let (commit, serial) = name.split_once('.')?;
    let is_hex = commit.len() == 64 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hex && serial.parse::<u32>().is_ok()).then(|| commit.to_owned())
}
