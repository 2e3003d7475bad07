//! Blobs: handles by which a kernel, an initrd or a UKI is found again in the object store.
//!
//! Keys are `object/<hex>` for a file that is an object, and `inline/<content in hex>` for the few bytes of a file that is kept
//! inside the EROFS image.

use std::io::{Cursor, Write};

use bootwright_core::{
    error::{Error, ErrorKind, IoContext, Result},
    fs::hash_into,
    model::Blob,
    tree::Reader,
};
use composefs::{fsverity::FsVerityHashValue, tree::RegularFile};

use crate::tree::Objects;

/// Describes a file, reading it once for its digest.
pub(crate) fn describe<H: FsVerityHashValue>(objects: &Objects, file: &RegularFile<H>) -> Result<Blob> {
    describe_into(objects, file, &mut std::io::sink())
}

/// As [`describe`], and passes the content on in the same pass.
pub(crate) fn describe_into<H: FsVerityHashValue>(
    objects: &Objects,
    file: &RegularFile<H>,
    copy: &mut dyn Write,
) -> Result<Blob> {
    let key = match file {
        RegularFile::Inline(bytes) => format!("inline/{}", hex::encode(bytes)),
        RegularFile::External(id, _) | RegularFile::ExternalNoVerity(id, _) => {
            format!("object/{}", id.to_hex())
        }
        RegularFile::Sparse(_) => return Err(Error::invalid("a boot file of the image consists of a hole")),
    };
    let mut reader = objects.reader(file)?;
    let (sha256, size) =
        hash_into(&mut reader, copy).context_io(|| "read a boot file of the image".to_owned())?;
    if size != file.file_size() {
        return Err(Error::integrity("a boot file of the image does not have the size that the image says"));
    }
    Ok(Blob { key, size, sha256 })
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
