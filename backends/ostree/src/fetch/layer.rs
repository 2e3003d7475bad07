//! One layer: from its stream to a named commit, in one transaction.

use std::io::Read;

use bootwright_core::{
    blobs::{LayerSpec, Unpacked},
    error::{Error, ErrorKind, IoContext, Result},
};
use ostree_ext::{gio, ostree};
use tokio::sync::oneshot;

use super::{
    encapsulated::{Detached, Part},
    entry::{Change, Entry},
    listing,
    objects::Objects,
    path::{Order, TreePath},
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
        let path = match TreePath::parse(&raw.path)?.order()? {
            Order::Keep(path) => path,
            Order::Remove(path) => return Ok(Some(Entry { path, change: Change::Remove })),
            Order::Empty(path) => return Ok(Some(Entry { path, change: Change::Empty })),
            Order::Ignore => return Ok(None),
        };
        match Part::of(&path) {
            Part::Tree => self.change(raw, content).map(|change| Some(Entry { path, change })),
            Part::Object(id) => {
                let mut raw = raw;
                raw.meta.xattrs.extend(self.detached.of(&id).cloned().unwrap_or_default());
                self.change(raw, content).map(|change| Some(Entry { path, change }))
            }
            Part::Xattrs(name) => self.learn(name, raw.size, content).map(|()| None),
            Part::XattrsLink(object) => {
                if let Kind::Link(target) = &raw.kind {
                    self.detached.link(object, &link_target(target)?);
                }
                Ok(None)
            }
            Part::Other => Ok(None),
        }
    }

    fn change(&self, raw: Raw, content: &mut dyn Read) -> Result<Change> {
        match raw.kind {
            Kind::Regular => self.objects.file(&raw.meta, raw.size, content).map(Change::File),
            Kind::Folder => Ok(Change::Folder(raw.meta)),
            Kind::Symlink(target) => {
                self.objects.symlink(&raw.meta, symlink_target(&target)?).map(Change::File)
            }
            Kind::Link(target) => link_target(&target).map(Change::Link),
            Kind::Special => Ok(Change::LeftOut),
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

/// Where a hard link leads: from the root of the image, so that a leading slash changes nothing.
fn link_target(target: &[u8]) -> Result<TreePath> {
    TreePath::parse(target.strip_prefix(b"/").unwrap_or(target))
}

/// Symbolic links may lead anywhere: nobody follows them here.
fn symlink_target(target: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(target).ok().filter(|text| !text.is_empty() && !text.contains('\0'));
    text.filter(|text| text.len() < 4096).ok_or_else(|| {
        Error::invalid(format!(
            "a symbolic link in a layer leads to {:?}, which cannot be kept",
            String::from_utf8_lossy(target)
        ))
        .with_hint("its target has to be UTF-8, and from 1 to 4095 bytes long")
    })
}
