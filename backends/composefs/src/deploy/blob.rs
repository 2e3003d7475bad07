//! Blobs: handles by which a kernel, an initrd or a UKI is found again in the object store.
//!
//! Keys are `object/<hex>` for a file that is an object, and `inline/<content in hex>` for the few bytes of a file that is kept
//! inside the EROFS image.

use std::io::Cursor;

use bootwright_core::{
    error::{Error, ErrorKind, Result},
    model::Blob,
    tree::Reader,
};
use composefs::{fsverity::FsVerityHashValue, tree::RegularFile};

use crate::tree::Objects;

/// The key of a file.
///
/// # Errors
/// `InvalidInput` for a file of zeros only, which is kept as a length.
pub(crate) fn key<H: FsVerityHashValue>(file: &RegularFile<H>) -> Result<String> {
    match file {
        RegularFile::Inline(bytes) => Ok(format!("inline/{}", hex::encode(bytes))),
        RegularFile::External(id, _) | RegularFile::ExternalNoVerity(id, _) => {
            Ok(format!("object/{}", id.to_hex()))
        }
        RegularFile::Sparse(_) => Err(Error::invalid("a boot file of the image consists of a hole")),
    }
}

/// Opens what a key names.
///
/// # Errors
/// `NotFound` if the store does not have it, `InvalidInput` if the key is not one of ours.
pub(crate) fn open<H: FsVerityHashValue>(objects: &Objects, blob: &Blob) -> Result<Reader> {
    let foreign =
        || Error::new(ErrorKind::NotFound, format!("{:?} is not a blob of the composefs backend", blob.key));
    match blob.key.split_once('/').ok_or_else(foreign)? {
        ("object", id) => Ok(Box::new(objects.open(&H::from_hex(id).map_err(|_| foreign())?)?)),
        ("inline", bytes) => Ok(Box::new(Cursor::new(hex::decode(bytes).map_err(|_| foreign())?))),
        _ => Err(foreign()),
    }
}
