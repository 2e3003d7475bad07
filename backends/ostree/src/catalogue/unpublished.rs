//! The note that says which slot published boot entries use, while libostree may believe in another.

use bootwright_core::{
    context::BackendContext,
    error::{Error, Result},
    fs::ReplaceStyle,
};
use serde::{Deserialize, Serialize};

const PATH: &str = "ostree/bootwright/unpublished.json";

/// What is published although a newer list may have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The slot; `None` if nothing has been published yet.
    pub published: Option<u8>,
}

/// The note, if a list may have been written that is not published.
///
/// # Errors
/// `Integrity` for a note that cannot be read: what boots is unknown then.
pub(crate) fn read(context: &BackendContext) -> Result<Option<Note>> {
    let Some(bytes) = context.sysroot.read(PATH)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(note @ Note { published: None | Some(0 | 1) }) => Ok(Some(note)),
        Ok(_) => Err(damaged(context)),
        Err(error) => Err(damaged(context).with_source(error)),
    }
}

fn damaged(context: &BackendContext) -> Error {
    Error::integrity(format!("{} is damaged", context.sysroot.show(PATH)))
        .with_hint("write {\"published\":N} there, N being the digit after /ostree/boot. in the boot entries")
}

/// Notes durably what is published, unless that is noted already.
pub(crate) fn write(context: &BackendContext, note: Note) -> Result<()> {
    if read(context)?.is_some() {
        return Ok(());
    }
    let text =
        serde_json::to_vec(&note).map_err(|error| Error::internal("describe a slot").with_source(error))?;
    context.sysroot.replace(PATH, &text, ReplaceStyle::Durable)
}

/// Forgets the note: the newest list is published, or the older one is in force again.
pub(crate) fn clear(context: &BackendContext) -> Result<()> {
    if context.sysroot.remove_file(PATH)? {
        context.sysroot.sync_folder("ostree/bootwright")?;
    }
    Ok(())
}
