//! Writing objects into the repository: content, folders, commits, in libostree's formats (ostree-core.h).

use std::io::Read;

use bootwright_core::error::{Error, ErrorKind, IoContext, Result};
use ostree_ext::{
    gio::{self, prelude::*},
    glib, ostree,
};

use super::{
    convert::Content,
    entry::{Meta, ObjectId},
    tree::{Folder, Node},
};
use crate::errors::LibraryContext;

const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
/// Files up to this size are read at once; larger ones in pieces of it.
const PIECE: usize = 256 << 10;

/// A repository inside a transaction.
#[derive(Debug)]
pub(super) struct Objects<'a> {
    pub(super) repo: &'a ostree::Repo,
    pub(super) cancellable: &'a gio::Cancellable,
}

/// Checksums of a folder's two objects, in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolderId {
    pub(super) tree: String,
    pub(super) meta: String,
}

/// What a folder object lists: names with checksums in hex, in the order of the names' bytes.
#[derive(Debug, Default)]
pub(super) struct Listed<'a> {
    pub(super) files: Vec<(&'a str, &'a str)>,
    pub(super) folders: Vec<(&'a str, FolderId)>,
}

impl Content for Objects<'_> {
    fn file(&self, meta: &Meta, size: u64, content: &mut dyn Read) -> Result<ObjectId> {
        let xattrs = xattrs(meta)?;
        let mode = REGULAR | meta.mode;
        if size <= PIECE as u64 {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(PIECE)];
            content.read_exact(&mut bytes).context_io(|| "read the content of a file".to_owned())?;
            let written = self.repo.write_regfile_inline(
                None,
                meta.uid,
                meta.gid,
                mode,
                Some(&xattrs),
                &bytes,
                Some(self.cancellable),
            );
            return written.map(String::from).context(writing);
        }
        let writer =
            self.repo.write_regfile(None, meta.uid, meta.gid, mode, size, Some(&xattrs)).context(writing)?;
        self.copy(&writer, size, content)?;
        writer.finish(Some(self.cancellable)).map(String::from).context(writing)
    }

    /// Its mode means nothing to Linux, and libostree does not keep it.
    fn symlink(&self, meta: &Meta, target: &str) -> Result<ObjectId> {
        let xattrs = xattrs(meta)?;
        let written =
            self.repo.write_symlink(None, meta.uid, meta.gid, Some(&xattrs), target, Some(self.cancellable));
        written.map(String::from).context(writing)
    }
}

impl Objects<'_> {
    fn copy(&self, writer: &ostree::ContentWriter, size: u64, content: &mut dyn Read) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            content.read_exact(piece).context_io(|| "read the content of a file".to_owned())?;
            let (_, failed) = writer.write_all(piece, Some(self.cancellable)).context(writing)?;
            failed.map_or(Ok(()), Err).context(writing)?;
            left -= wanted as u64;
        }
        Ok(())
    }

    /// Writes a folder and everything below it.
    pub(super) fn folder(&self, folder: &Folder) -> Result<FolderId> {
        let mut listed = Listed::default();
        for (name, node) in &folder.children {
            match node {
                Node::File(object) => listed.files.push((name, object)),
                Node::Folder(folder) => listed.folders.push((name, self.folder(folder)?)),
            }
        }
        let meta = self.folder_meta(&folder.meta.clone().unwrap_or_else(Meta::default_folder))?;
        Ok(FolderId { tree: self.folder_tree(&listed)?, meta })
    }

    /// Writes what a folder lists: `(a(say)a(sayay))`.
    pub(super) fn folder_tree(&self, listed: &Listed<'_>) -> Result<String> {
        let files = listed.files.iter().map(|(name, object)| Ok(tuple([name.to_variant(), bytes(object)?])));
        let folders = listed
            .folders
            .iter()
            .map(|(name, id)| Ok(tuple([name.to_variant(), bytes(&id.tree)?, bytes(&id.meta)?])));
        let files = array("(say)", files.collect::<Result<_>>()?)?;
        let folders = array("(sayay)", folders.collect::<Result<_>>()?)?;
        self.metadata(ostree::ObjectType::DirTree, &tuple([files, folders]))
    }

    /// Writes owner, mode and attributes of a folder: `(uuua(ayay))`, numbers in network byte order.
    pub(super) fn folder_meta(&self, meta: &Meta) -> Result<String> {
        let numbers = [meta.uid, meta.gid, FOLDER | meta.mode].map(|number| number.to_be().to_variant());
        let [uid, gid, mode] = numbers;
        self.metadata(ostree::ObjectType::DirMeta, &tuple([uid, gid, mode, xattrs(meta)?]))
    }

    /// Writes a commit without parent: `(a{sv}aya(say)sstayay)`; `time` in seconds since 1970.
    pub(super) fn commit(
        &self,
        metadata: &glib::VariantDict,
        subject: &str,
        time: u64,
        root: &FolderId,
    ) -> Result<String> {
        let commit = tuple([
            metadata.end(),
            glib::Variant::array_from_fixed_array::<u8>(&[]),
            array("(say)", Vec::new())?,
            subject.to_variant(),
            "".to_variant(),
            time.to_be().to_variant(),
            bytes(&root.tree)?,
            bytes(&root.meta)?,
        ]);
        self.metadata(ostree::ObjectType::Commit, &commit)
    }

    fn metadata(&self, kind: ostree::ObjectType, object: &glib::Variant) -> Result<String> {
        let written = self.repo.write_metadata(kind, None, object, Some(self.cancellable));
        written
            .map(|checksum| checksum.to_hex())
            .context(|| "write an object that describes files".to_owned())
    }
}

fn writing() -> String {
    "write a file into the repository".to_owned()
}

fn tuple<const N: usize>(children: [glib::Variant; N]) -> glib::Variant {
    glib::Variant::tuple_from_iter(children)
}

fn array(element: &str, children: Vec<glib::Variant>) -> Result<glib::Variant> {
    let element = glib::VariantTy::new(element)
        .map_err(|error| Error::internal("a type of libostree's objects").with_source(error))?;
    Ok(glib::Variant::array_from_iter_with_type(element, children))
}

/// A checksum as it stands in objects.
fn bytes(checksum: &str) -> Result<glib::Variant> {
    let bytes = hex::decode(checksum).ok().filter(|bytes| bytes.len() == 32);
    let bytes =
        bytes.ok_or_else(|| Error::new(ErrorKind::Integrity, format!("{checksum:?} is not a checksum")))?;
    Ok(glib::Variant::array_from_fixed_array(&bytes))
}

/// Extended attributes, `a(ayay)`, in the order of their names, which end with a zero byte.
fn xattrs(meta: &Meta) -> Result<glib::Variant> {
    let pair = |(name, value): (&String, &String)| {
        let value = hex::decode(value)
            .map_err(|error| Error::integrity("an extended attribute is not hex").with_source(error))?;
        let name = [name.as_bytes(), &[0]].concat();
        Ok(tuple([
            glib::Variant::array_from_fixed_array(&name),
            glib::Variant::array_from_fixed_array(&value),
        ]))
    };
    array("(ayay)", meta.xattrs.iter().map(pair).collect::<Result<_>>()?)
}
