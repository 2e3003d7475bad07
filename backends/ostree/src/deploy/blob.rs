//! Blobs: handles by which a kernel, an initrd or a UKI is found again among the objects. Keys are `object/<checksum>`.

use bootwright_core::{
    context::BackendContext,
    error::{Error, Result},
    model::Blob,
    tree::Reader,
};

const PREFIX: &str = "object/";

/// The key of a file's content.
pub(crate) fn key(checksum: &str) -> String {
    format!("{PREFIX}{checksum}")
}

/// Where the content of a file is, relative to the physical root. Repositories of this backend keep content as it is.
pub(crate) fn object_path(checksum: &str) -> String {
    let (first, rest) = checksum.split_at_checked(2).unwrap_or((checksum, ""));
    format!("ostree/repo/objects/{first}/{rest}.file")
}

/// Opens what a key names.
///
/// # Errors
/// `NotFound` if the store does not have it, or if the key is not one of ours.
pub(crate) fn open(context: &BackendContext, blob: &Blob) -> Result<Reader> {
    let is_checksum = |text: &&str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let Some(checksum) = blob.key.strip_prefix(PREFIX).filter(is_checksum) else {
        return Err(Error::not_found(format!("{:?} is not a blob of the OSTree backend", blob.key)));
    };
    open_object(context, checksum)
}

/// Opens the content of a file.
pub(crate) fn open_object(context: &BackendContext, checksum: &str) -> Result<Reader> {
    match context.sysroot.open_file(&object_path(checksum))? {
        Some(file) => Ok(Box::new(file)),
        None => Err(Error::not_found(format!("object {checksum} is missing"))
            .with_hint("find out what else is damaged with `bootwright fsck`")),
    }
}
