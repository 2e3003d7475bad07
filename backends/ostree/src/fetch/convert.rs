//! From an entry of an archive to the change that it makes.

use std::io::Read;

use bootwright_core::error::{Error, Result};

use super::{
    entry::{Change, Entry, Meta, ObjectId},
    path::{Order, TreePath},
    tar::{Kind, Raw},
};

/// Where content goes.
pub(super) trait Content {
    /// Takes a regular file, whose content is the next `size` bytes of the reader.
    fn file(&self, meta: &Meta, size: u64, content: &mut dyn Read) -> Result<ObjectId>;
    /// Takes a symbolic link.
    fn symlink(&self, meta: &Meta, target: &str) -> Result<ObjectId>;
}

/// The change, unless there is none. An entry that is not already understood by its name goes to `keep`, with its path.
///
/// # Errors
/// `InvalidInput` for a name that no file can have; what `keep` says.
pub(super) fn entry(
    raw: Raw,
    keep: impl FnOnce(TreePath, Raw) -> Result<Option<Entry>>,
) -> Result<Option<Entry>> {
    match TreePath::parse(&raw.path)?.order()? {
        Order::Keep(path) => keep(path, raw),
        Order::Remove(path) => Ok(Some(Entry { path, change: Change::Remove })),
        Order::Empty(path) => Ok(Some(Entry { path, change: Change::Empty })),
        Order::Ignore => Ok(None),
    }
}

/// The change of an entry that is kept at this path.
///
/// # Errors
/// `InvalidInput` for a target that no link can have; what `objects` says.
pub(super) fn kept(
    path: TreePath,
    raw: Raw,
    objects: &impl Content,
    content: &mut dyn Read,
) -> Result<Option<Entry>> {
    let change = change(raw, objects, content)?;
    Ok(Some(Entry { path, change }))
}

fn change(raw: Raw, objects: &impl Content, content: &mut dyn Read) -> Result<Change> {
    match raw.kind {
        Kind::Regular => objects.file(&raw.meta, raw.size, content).map(Change::File),
        Kind::Folder => Ok(Change::Folder(raw.meta)),
        Kind::Symlink(target) => objects.symlink(&raw.meta, symlink_target(&target)?).map(Change::File),
        Kind::Link(target) => link_target(&target).map(Change::Link),
        Kind::Special => Ok(Change::LeftOut),
    }
}

/// Where a hard link leads: from the root of the image, so that a leading slash changes nothing.
pub(super) fn link_target(target: &[u8]) -> Result<TreePath> {
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
