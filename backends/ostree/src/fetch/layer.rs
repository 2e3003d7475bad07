//! One layer: from its stream to a named commit, in one transaction.

use std::io::Read;

use bootwright_core::{
    blobs::{LayerSpec, Unpacked},
    error::{Error, ErrorKind, IoContext, Result},
};
use ostree_ext::{gio, ostree};
use tokio::sync::oneshot;

use super::{
    convert,
    encapsulated::{Detached, Part},
    entry::Entry,
    listing,
    objects::Objects,
    path::TreePath,
    refs,
    tar::{Kind, Raw, Tar},
};
use crate::{errors::LibraryContext, repo::Store};

/// Stores a layer. Blocks. `verdict` arrives when the blob and what it unpacks to have the right digests; if it never does, nothing
/// of the layer stays.
///
/// # Errors
/// `InvalidInput` for a malformed layer, after its stream was read to the end, so that a wrong digest is noticed first.
pub(super) fn import(
    store: &Store,
    spec: &LayerSpec,
    stream: Unpacked,
    verdict: oneshot::Receiver<()>,
    cancellable: &gio::Cancellable,
) -> Result<()> {
    let what = || format!("import layer {}", spec.digest);
    store.sysroot.faults().before(&what())?;
    let repo = store.open()?;
    repo.set_disable_fsync(true);
    let transaction = repo.auto_transaction(Some(cancellable)).context(what)?;
    let objects = Objects { repo: &repo, cancellable };
    let mut tar = Tar::new(stream);
    let read = read_entries(&objects, &mut tar);
    if read.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::InvalidInput) {
        tar.drain()?;
    }
    let entries = read.map_err(|error| error.with_context("layer", &spec.digest))?;
    let stopped =
        |_| Error::new(ErrorKind::Interrupted, format!("the transfer of layer {} stopped", spec.digest));
    verdict.blocking_recv().map_err(stopped)?;
    let name = refs::layer(&spec.diff_id);
    let commit = listing::write(&objects, &name, &entries)?;
    publish(store, transaction, &name, &commit, cancellable)
}

/// Ends a transaction and names its commit.
///
/// libostree would sync each of the 256 folders of objects; here the file system is synced as a whole instead, in the same order: content
/// before it gets its name, names before the one that refers to all of them.
pub(super) fn publish(
    store: &Store,
    transaction: ostree::TransactionGuard<'_>,
    name: &str,
    commit: &str,
    cancellable: &gio::Cancellable,
) -> Result<()> {
    let repo = transaction.repo().clone();
    store.sysroot.sync_filesystem()?;
    store.sysroot.faults().before(&format!("move the objects of {name} into place"))?;
    transaction.commit(Some(cancellable)).context(|| format!("move the objects of {name} into place"))?;
    store.sysroot.sync_filesystem()?;
    store.sysroot.faults().before(&format!("name {name}"))?;
    repo.set_disable_fsync(false);
    refs::set(&repo, name, commit)
}

fn read_entries(objects: &Objects<'_>, tar: &mut Tar<impl Read>) -> Result<Vec<Entry>> {
    let mut reader = Reader { objects, detached: Detached::default() };
    let mut entries = Vec::new();
    while let Some(raw) = tar.next()? {
        entries.extend(reader.entry(raw, tar)?);
    }
    Ok(entries)
}

struct Reader<'a> {
    objects: &'a Objects<'a>,
    detached: Detached,
}

impl Reader<'_> {
    fn entry(&mut self, raw: Raw, content: &mut dyn Read) -> Result<Option<Entry>> {
        convert::entry(raw, |path, raw| self.part(path, raw, content))
    }

    fn part(&mut self, path: TreePath, mut raw: Raw, content: &mut dyn Read) -> Result<Option<Entry>> {
        match Part::of(&path) {
            Part::Tree => convert::kept(path, raw, self.objects, content),
            Part::Object(id) => {
                raw.meta.xattrs.extend(self.detached.of(&id).cloned().unwrap_or_default());
                convert::kept(path, raw, self.objects, content)
            }
            Part::Xattrs(name) => self.learn(name, raw.size, content).map(|()| None),
            Part::XattrsLink(object) => {
                if let Kind::Link(target) = &raw.kind {
                    self.detached.link(object, &convert::link_target(target)?);
                }
                Ok(None)
            }
            Part::Other => Ok(None),
        }
    }

    fn learn(&mut self, name: String, size: u64, content: &mut dyn Read) -> Result<()> {
        if !self.detached.has_room(size) {
            return Err(Error::invalid("a layer has more extended attributes than fit into memory"));
        }
        let mut bytes = Vec::new();
        content.take(size).read_to_end(&mut bytes).context_io(|| "read extended attributes".to_owned())?;
        self.detached.learn(name, &bytes)
    }
}
