//! Clean-up: deployments that nobody keeps, and what only they needed.
//!
//! A list that libostree writes changes the links of every deployment, and nothing is published after a clean-up. So the catalogue is changed in place: a
//! deployment that goes loses its entry there, all others keep their links. Then libostree removes what no entry names, if the links that
//! it would take away with it are in nobody's boot entry.

use std::collections::BTreeSet;

use bootwright_core::{
    boot_files::remove_temporaries,
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    model::{DeploymentId, KernelCmdline, Removed},
};
use ostree_ext::{gio::Cancellable, ostree};

use crate::{
    catalogue::{Catalogue, Link, unpublished},
    deploy::{
        booted,
        prepare::{REFS, ref_of},
        record::{self, Record},
    },
    errors::LibraryContext as _,
    fetch,
    repo::Store,
};

/// What this backend itself writes beside libostree's files.
const OWN: &str = "ostree/bootwright";

/// Deletes what `keep` does not need; see `StorageBackend::retain`.
///
/// # Crash
/// A deployment that goes loses its entry, then its record, then the refs of its commit, then its folder and objects.
pub(crate) fn retain(context: &BackendContext, keep: &BTreeSet<DeploymentId>) -> Result<Removed> {
    if keep.is_empty() {
        return Err(Error::invalid("a clean-up that keeps nothing would leave a machine that cannot boot")
            .with_hint("name at least one deployment to keep"));
    }
    let running = booted::now(context)?;
    // What runs stays, whatever `keep` says (invariant I1).
    let stays = |record: &Record| {
        keep.contains(record.id()) || running.as_ref().is_some_and(|r| &r.id == record.id())
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = record::all(context)?.into_iter().partition(stays);
    let mut catalogue = Catalogue::open_locked(context)?;
    give_up_unpublished(context, &mut catalogue, &kept)?;
    let mut removed = Removed::default();
    for record in &dropped {
        drop_entries(context, &record.commit)?;
        record::remove(context, record.id())?;
        removed.items.push(format!("deployment {}", record.id()));
    }
    remove_temporaries(&context.sysroot, OWN)?;
    context.sysroot.sync_filesystem()?;
    catalogue.reload()?;
    let repo = Store::new(context.sysroot.clone()).open()?;
    drop_refs(context, &repo, &kept)?;
    if links_are_free(context, &catalogue, running.map(|running| running.slot))? {
        let listed = catalogue.entries();
        booted::unprotect(context, |folder| listed.iter().all(|entry| entry.folder != folder.path))?;
        context.sysroot.faults().before("remove folders of deployments that are gone")?;
        let what = || "remove folders of deployments that are gone".to_owned();
        catalogue.sysroot.prepare_cleanup(Cancellable::NONE).or_kind(ErrorKind::Io, what)?;
    }
    prune(context, &repo, &mut removed)?;
    context.sysroot.sync_filesystem()?;
    Ok(removed)
}

/// A list that was never published, and whose deployments nobody keeps, goes: the one that is published is in force again.
fn give_up_unpublished(
    context: &BackendContext,
    catalogue: &mut Catalogue<'_>,
    kept: &[Record],
) -> Result<()> {
    let Some(note) = unpublished::read(context)? else { return Ok(()) };
    if catalogue.slot()? == note.published {
        return unpublished::clear(context);
    }
    let published = note.published.map(|slot| listed(context, slot)).transpose()?.unwrap_or_default();
    let newest = catalogue.entries();
    let is_new = |commit: &String| !published.contains(commit);
    let wanted = |commit: &String| kept.iter().any(|record| &record.commit == commit);
    if newest.iter().any(|entry| is_new(&entry.commit) && wanted(&entry.commit)) {
        return Ok(());
    }
    catalogue.turn_back()?;
    unpublished::clear(context)
}

/// Entries of a slot: path, and the commit that each leads to.
fn entries(context: &BackendContext, slot: u8) -> Result<Vec<(String, Option<String>)>> {
    let folder = format!("boot/loader.{slot}/entries");
    let mut found = Vec::new();
    for name in context.sysroot.list(&folder)?.into_iter().filter(|name| is_entry(name)) {
        let path = format!("{folder}/{name}");
        let text = context.sysroot.read_text(&path)?.unwrap_or_default();
        let options = text.lines().find_map(|line| line.strip_prefix("options")).unwrap_or_default();
        let link = Link::of(&KernelCmdline::parse_lossy(options));
        found.push((path, link.and_then(|link| booted::linked(context, &link))));
    }
    Ok(found)
}

fn is_entry(name: &str) -> bool {
    name.strip_suffix(".conf").is_some()
}

/// The commits in a slot.
fn listed(context: &BackendContext, slot: u8) -> Result<BTreeSet<String>> {
    Ok(entries(context, slot)?.into_iter().filter_map(|(_, commit)| commit).collect())
}

/// Takes a commit's entries out of both slots.
fn drop_entries(context: &BackendContext, commit: &str) -> Result<()> {
    for slot in [0, 1] {
        for (path, found) in entries(context, slot)? {
            if found.as_deref() == Some(commit) {
                context.sysroot.remove_file(&path)?;
            }
        }
    }
    Ok(())
}

fn drop_refs(context: &BackendContext, repo: &ostree::Repo, kept: &[Record]) -> Result<()> {
    let needed: BTreeSet<_> = kept.iter().map(|record| ref_of(record.id())).collect();
    let what = || "list what the repository keeps".to_owned();
    let refs = repo
        .list_refs_ext(Some(REFS), ostree::RepoListRefsExtFlags::NONE, Cancellable::NONE)
        .or_kind(ErrorKind::Io, what)?;
    let mut names: Vec<_> = refs.keys().filter(|name| !needed.contains(*name)).collect();
    names.sort();
    for name in names {
        let what = || format!("remove the ref {name}");
        context.sysroot.faults().before(&what())?;
        repo.set_ref_immediate(None, name, None, Cancellable::NONE).or_kind(ErrorKind::Io, what)?;
    }
    context.sysroot.faults().before("forget images that no deployment needs")?;
    let images = kept.iter().map(|record| record.deployment.image.manifest_digest.clone()).collect();
    fetch::retain(repo, &images)
}

/// Whether the slot that libostree does not believe in is in nobody's boot entry, and not how the running system was started.
fn links_are_free(context: &BackendContext, catalogue: &Catalogue<'_>, running: Option<u8>) -> Result<bool> {
    let published = unpublished::read(context)?.is_none_or(|note| note.published.is_none());
    let slot = catalogue.slot()?;
    Ok(published && running.is_none_or(|running| Some(running) == slot))
}

fn prune(context: &BackendContext, repo: &ostree::Repo, removed: &mut Removed) -> Result<()> {
    context.sysroot.faults().before("remove unused objects")?;
    let (_, pruned, bytes) = repo
        .prune(ostree::RepoPruneFlags::REFS_ONLY, 0, Cancellable::NONE)
        .or_kind(ErrorKind::Io, || "remove unused objects".to_owned())?;
    removed.bytes += bytes;
    if pruned > 0 {
        removed.items.push(format!("{pruned} objects"));
    }
    Ok(())
}
