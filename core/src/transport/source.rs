//! From a name to a summary, whatever holds the documents.

use super::document::{self, Descriptor, Document, Manifest};
use crate::{
    error::{Error, Result},
    model::{Digest, ImageReference, ImageSummary},
};

/// Lists in lists: one level is common, two have been seen.
const MAX_NESTING: usize = 4;

/// What holds an image's documents. Reads are bounded, digests are checked by the caller.
pub(super) trait Documents {
    /// The document that the reference names: its bytes, and the digest and length that it must have, if those are known before.
    fn top(&self, architecture: &str) -> Result<(Vec<u8>, Option<Expected>)>;

    /// A manifest or list that a list names.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// The configuration of the image with this manifest.
    fn config(&self, manifest_digest: &Digest, descriptor: &Descriptor) -> Result<Vec<u8>>;
}

/// What a document must be.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) digest: Digest,
    pub(super) size: Option<u64>,
}

impl From<&Descriptor> for Expected {
    fn from(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest.clone(), size: Some(descriptor.size) }
    }
}

/// Follows the reference down to one image's manifest and configuration.
pub(super) fn inspect(
    documents: &dyn Documents,
    reference: &ImageReference,
    architecture: &str,
) -> Result<ImageSummary> {
    let (digest, manifest) = resolve(documents, architecture)?;
    manifest.check_is_image()?;
    let config = documents.config(&digest, &manifest.config)?;
    let Expected { digest: config_digest, size } = (&manifest.config).into();
    document::check(&config, &config_digest, size, "the image's configuration")?;
    document::summarise(reference, digest, &manifest, &config, architecture)
}

fn resolve(documents: &dyn Documents, architecture: &str) -> Result<(Digest, Manifest)> {
    let (mut bytes, mut expected) = documents.top(architecture)?;
    for _ in 0..MAX_NESTING {
        if let Some(Expected { digest, size }) = &expected {
            document::check(&bytes, digest, *size, "the image's manifest")?;
        }
        match Document::parse(&bytes)? {
            Document::Manifest(manifest) => {
                let digest = expected.map_or_else(|| Digest::of(&bytes), |expected| expected.digest);
                return Ok((digest, manifest));
            }
            Document::Index(index) => {
                let next = index.for_architecture(architecture)?;
                bytes = documents.manifest(next)?;
                expected = Some(next.into());
            }
        }
    }
    Err(Error::invalid(format!("the image has more than {MAX_NESTING} lists inside each other")))
}
