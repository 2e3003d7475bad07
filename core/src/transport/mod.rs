//! Image transports: manifests and configurations, before any layer is fetched.
//!
//! [`inspect`] answers "which image is that, and what would it cost" from a few small documents. It never opens a layer.
//!
//! | transport | how |
//! |---|---|
//! | `oci:` | the layout's folder is read |
//! | `oci-archive:` | the tar file's headers are walked, then the documents are read in place; nothing is unpacked |
//! | `docker://`, `containers-storage:` | `skopeo inspect`, which honours the host's registries.conf(5) and its log-ins |
//!
//! Every document is read with an upper bound and compared with the digest that named it. OCI's media types and Docker's (schema 2) are both
//! understood.

pub mod architecture;
mod archive;
mod document;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod layout;
pub mod policy;
mod skopeo;
mod source;

#[cfg(test)]
mod tests;

use crate::{
    error::Result,
    model::{ImageReference, ImageSummary, Transport},
    process::blocking,
};

/// Looks up an image.
///
/// # Behaviour
/// - `architecture` is an OCI name (`amd64`) or the kernel's (`x86_64`); `None` means this machine's.
/// - From a list of images, the one for that architecture is taken; the digest returned is that of its own manifest.
/// - A local layout without a tag in the reference is read if it holds one image.
///
/// # Errors
/// - `NotFound`: no such folder, file, tag or image; the hint lists the tags that there are.
/// - `Unsupported`: made for another architecture (names both), not a system image, or `skopeo` is missing.
/// - `Integrity`: a document is not what its digest says. `InvalidInput`: a document is malformed or too large.
/// - `Interrupted`: the registry could not be reached. `Permission`: it wants a log-in.
pub async fn inspect(reference: &ImageReference, architecture: Option<&str>) -> Result<ImageSummary> {
    let (reference, architecture) = (reference.clone(), architecture.map(str::to_owned));
    blocking(move || inspect_blocking(&reference, architecture.as_deref())).await
}

/// [`inspect`] for callers that may block.
pub fn inspect_blocking(reference: &ImageReference, architecture: Option<&str>) -> Result<ImageSummary> {
    let architecture = architecture::oci_name(architecture.unwrap_or(std::env::consts::ARCH));
    let error = |error: crate::Error| error.with_context("image", reference);
    match reference.transport() {
        Transport::Oci => layout::inspect(reference, architecture),
        Transport::OciArchive => archive::inspect(reference, architecture),
        Transport::Registry | Transport::ContainersStorage => {
            source::inspect(&skopeo::Skopeo::new(reference), reference, architecture)
        }
    }
    .map_err(error)
}
