//! Where an image's blobs come from.

use std::{path::Path, sync::Arc};

use crate::{
    error::{Error, IoContext, Result},
    model::{Digest, ImageSummary, Transport},
};
use containers_image_proxy::oci_spec::image::Descriptor;

use super::{
    archive::{self, Archive},
    layer::{self, LayerSpec, Shortage, matches, unpack},
    layout::Layout,
    progress::LayerProgress,
    registry::Registry,
};

/// Manifests and configurations are small; a larger one is a mistake or an attack.
const METADATA_LIMIT: u64 = 16 << 20;

/// An opened image source.
#[derive(Debug, Clone)]
pub struct Source(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// A layout folder.
    Layout(Arc<Layout>),
    /// A layout archive.
    Archive(Arc<Archive>),
    /// Anything that skopeo reads.
    Registry(Arc<Registry>),
}

impl Source {
    /// Opens the source of an image.
    ///
    /// # Errors
    /// `NotFound`, `InvalidInput`, or what skopeo says of a registry.
    pub async fn open(image: &ImageSummary) -> Result<Self> {
        let reference = &image.reference;
        let (path, _) = reference.path_and_tag();
        match reference.transport() {
            Transport::Oci => Ok(Self(Kind::Layout(Arc::new(Layout::new(path))))),
            Transport::OciArchive if archive::is_plain(Path::new(path))? => {
                Ok(Self(Kind::Archive(Arc::new(Archive::open(Path::new(path))?))))
            }
            _ => Ok(Self(Kind::Registry(Arc::new(Registry::open(reference, &image.manifest_digest).await?)))),
        }
    }

    /// The manifest with this digest, checked.
    pub async fn manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        match &self.0 {
            Kind::Registry(registry) => registry.manifest(digest).await,
            _ => self.metadata(digest),
        }
    }

    /// The configuration, checked.
    pub(super) async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = Digest::new(descriptor.digest().to_string())?;
        match &self.0 {
            Kind::Registry(registry) => {
                let bytes = registry.config(descriptor).await?;
                if matches(&bytes, &digest) { Ok(bytes) } else { Err(wrong(&digest)) }
            }
            _ => self.metadata(&digest),
        }
    }

    fn metadata(&self, digest: &Digest) -> Result<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let mut limited = self.blob(digest)?.take(METADATA_LIMIT);
        limited.read_to_end(&mut bytes).context_io(|| format!("read blob {digest}"))?;
        if matches(&bytes, digest) { Ok(bytes) } else { Err(wrong(digest)) }
    }

    /// A blob of a local source.
    fn blob(&self, digest: &Digest) -> Result<Box<dyn std::io::Read + Send>> {
        match &self.0 {
            Kind::Layout(layout) => Ok(Box::new(layout.blob(digest)?)),
            Kind::Archive(archive) => Ok(Box::new(archive.blob(digest)?)),
            Kind::Registry(_) => Err(Error::internal("a registry's blobs are not files")),
        }
    }

    /// Reads a layer and sends what it unpacks to into `stream`; `index` is its place in the manifest.
    pub async fn layer(
        &self,
        index: usize,
        spec: LayerSpec,
        progress: LayerProgress,
        stream: layer::Sender,
    ) -> Result<LayerProgress> {
        if let Kind::Registry(registry) = &self.0 {
            return Arc::clone(registry).layer(index, spec, progress, stream).await;
        }
        let blob = self.blob(&spec.digest)?;
        let unpacking =
            tokio::task::spawn_blocking(move || unpack(blob, &spec, Shortage::Truncated, progress, &stream));
        unpacking
            .await
            .map_err(|error| Error::internal("the thread that unpacks a layer stopped").with_source(error))?
    }

    /// Whether a layer's blob is what the manifest says, where that can be found out without another transfer.
    pub fn recheck(&self, spec: &LayerSpec) -> Option<bool> {
        let mut blob = self.blob(&spec.digest).ok()?;
        layer::matches_reader(&mut blob, &spec.digest).ok()
    }
}

fn wrong(digest: &Digest) -> Error {
    Error::integrity(format!("blob {digest} does not have its digest"))
        .with_hint("the source is damaged or was changed: copy or push the image again")
}
