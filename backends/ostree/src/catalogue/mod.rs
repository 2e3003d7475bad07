//! libostree's private catalogue: boot entries on the root file system that nobody boots, by which it knows its deployments.
//!
//! There are two slots, 0 and 1. A slot is a folder of entries, `/boot/loader.N`, and a set of links, `/ostree/boot.N`; the link
//! `/boot/loader` says which one libostree takes for its list. Published boot entries name deployments by links of one slot. A new list is
//! written to the other slot, and what boots does not change until boot entries are published that name links of that one.
//!
//! Between the two, and for ever if power fails there, the slot that libostree believes in and the one that boots are not the same. A second list
//! would then be written over the links that boot. So what is published is noted before a list is written ([`unpublished`]), the note goes when
//! the new entries are durable, and whoever finds a note first turns `/boot/loader` back ([`Catalogue::turn_back`]).

mod entry;
pub(crate) mod freeze;
pub(crate) mod layout;
pub(crate) mod unpublished;

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind, Result},
    fs::ReplaceStyle,
};
use ostree_ext::{
    gio::{self, Cancellable},
    ostree,
};

pub(crate) use self::entry::{Entry, Link};
use crate::errors::LibraryContext as _;

/// Which slot libostree takes for its list.
const LOADER: &str = "boot/loader";
const TURNING: &str = "boot/loader.turning";

/// The catalogue, loaded.
pub(crate) struct Catalogue<'a> {
    context: &'a BackendContext,
    /// libostree's view of it.
    pub sysroot: ostree::Sysroot,
    locked: bool,
}

impl<'a> Catalogue<'a> {
    /// Loads it for reading.
    ///
    /// # Errors
    /// `Integrity` if libostree cannot make sense of it.
    pub fn open(context: &'a BackendContext) -> Result<Self> {
        let sysroot = load(context)?;
        Ok(Self { context, sysroot, locked: false })
    }

    /// Loads it for changing: other programs that use libostree wait.
    pub fn open_locked(context: &'a BackendContext) -> Result<Self> {
        let sysroot = load(context)?;
        sysroot.lock().or_kind(ErrorKind::Busy, || "lock the OSTree system root".to_owned())?;
        sysroot.load(Cancellable::NONE).or_kind(ErrorKind::Integrity, loading)?;
        Ok(Self { context, sysroot, locked: true })
    }

    /// Reads it again, after a change that was not libostree's own.
    pub fn reload(&mut self) -> Result<()> {
        let fresh = Self::open(self.context)?;
        if self.locked {
            self.sysroot.unlock();
            fresh.sysroot.lock().or_kind(ErrorKind::Busy, || "lock the OSTree system root".to_owned())?;
        }
        self.sysroot = fresh.sysroot.clone();
        Ok(())
    }

    /// Every deployment in it, in libostree's order.
    pub fn entries(&self) -> Vec<Entry> {
        self.sysroot.deployments().iter().map(|found| Entry::of(&self.sysroot, found)).collect()
    }

    /// The entry of this commit.
    pub fn entry_of(&self, commit: &str) -> Option<Entry> {
        self.entries().into_iter().find(|entry| entry.commit == commit)
    }

    /// The slot that libostree believes in; `None` before the first list.
    pub fn slot(&self) -> Result<Option<u8>> {
        slot(self.context)
    }

    /// The slot that the next list goes to, if what is published stays what it is.
    pub fn next_slot(&self) -> Result<u8> {
        let published = match unpublished::read(self.context)? {
            Some(note) => note.published,
            None => self.slot()?,
        };
        Ok(u8::from(published.unwrap_or(0) == 0))
    }

    /// Makes libostree believe in the slot that published entries use, if that is another. Returns whether it was.
    ///
    /// # Crash
    /// One rename: turned back or not.
    pub fn turn_back(&mut self) -> Result<bool> {
        let Some(note) = unpublished::read(self.context)? else { return Ok(false) };
        if self.slot()? == note.published {
            return Ok(false);
        }
        let sysroot = &self.context.sysroot;
        match note.published {
            Some(slot) => {
                if !is_there(self.context, slot) {
                    // Somebody cleaned up by hand: there is nothing to turn back to, and the newest list must not be lost as well.
                    tracing::warn!("the links of published boot entries, /ostree/boot.{slot}, are gone");
                    unpublished::clear(self.context)?;
                    return Ok(false);
                }
                sysroot.symlink(&format!("loader.{slot}"), TURNING)?;
                sysroot.move_into_place(TURNING, LOADER, ReplaceStyle::Relaxed)?;
            }
            None => drop(sysroot.remove_file(LOADER)?),
        }
        sysroot.sync_folder("boot")?;
        self.reload()?;
        Ok(true)
    }
}

impl Drop for Catalogue<'_> {
    fn drop(&mut self) {
        if self.locked {
            self.sysroot.unlock();
        }
    }
}

/// Whether a slot still has its list and its links.
fn is_there(context: &BackendContext, slot: u8) -> bool {
    let parts = [format!("boot/loader.{slot}/entries"), format!("ostree/boot.{slot}")];
    parts.iter().all(|path| context.sysroot.exists(path))
}

/// The slot that `/boot/loader` names.
pub(crate) fn slot(context: &BackendContext) -> Result<Option<u8>> {
    match context.sysroot.dir().read_link_contents(LOADER) {
        Ok(target) => match target.to_str() {
            Some("loader.0") => Ok(Some(0)),
            Some("loader.1") => Ok(Some(1)),
            _ => Err(Error::integrity(format!(
                "{} leads to {}, which is not libostree's",
                context.sysroot.show(LOADER),
                target.display()
            ))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("read the link {}", context.sysroot.show(LOADER)), error)),
    }
}

fn load(context: &BackendContext) -> Result<ostree::Sysroot> {
    if !context.sysroot.exists("ostree/repo/config") {
        return Err(Error::not_found(format!(
            "there is no OSTree repository at {}",
            context.sysroot.show("ostree/repo")
        ))
        .with_hint("install first, or name the root file system that holds it"));
    }
    let sysroot = ostree::Sysroot::new(Some(&gio::File::for_path(context.sysroot.proc_path())));
    sysroot.load(Cancellable::NONE).or_kind(ErrorKind::Integrity, loading)?;
    Ok(sysroot)
}

fn loading() -> String {
    "read libostree's catalogue of deployments".to_owned()
}
