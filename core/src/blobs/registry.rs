//! Registries, and whatever else only skopeo can read, through its image proxy.
//!
//! skopeo reads the machine's own settings: `registries.conf` (mirrors, plain-HTTP registries), `policy.json` (signatures) and stored
//! credentials. Nothing here weakens them.

use std::sync::Arc;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Digest, ImageReference, Transport},
};
use containers_image_proxy::{
    ConvertedLayerInfo, ImageProxy, ImageProxyConfig, OpenedImage,
    oci_spec::image::{Descriptor, Digest as OciDigest},
};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::SyncIoBridge;

use super::layer::{LayerSpec, Shortage, unpack};
use super::{layer, progress::LayerProgress};

/// Configurations are small; a larger one is a mistake or an attack.
const CONFIG_LIMIT: u64 = 16 << 20;

/// An image opened in skopeo.
#[derive(Debug)]
pub(super) struct Registry {
    proxy: ImageProxy,
    image: OpenedImage,
    layers: Layers,
}

/// By which names skopeo gives out layers.
#[derive(Debug)]
enum Layers {
    /// By those in the manifest.
    AsInManifest,
    /// A local store keeps layers unpacked, and tells their sizes.
    Described(Vec<ConvertedLayerInfo>),
    /// A local store keeps them unpacked, and this skopeo does not tell their sizes: before version 1.11.
    ByContent,
}

impl Registry {
    /// Opens exactly the manifest with this digest.
    pub async fn open(reference: &ImageReference, manifest: &Digest) -> Result<Self> {
        let proxy = ImageProxy::new_with_config(ImageProxyConfig::default()).await.map_err(start_failed)?;
        let name = pinned(reference, manifest);
        let image =
            proxy.open_image(&name).await.map_err(|error| failed(format!("open image {name}"), error))?;
        let layers = match reference.transport() {
            Transport::ContainersStorage => layers_in_store(&proxy, &image).await?,
            _ => Layers::AsInManifest,
        };
        Ok(Self { proxy, image, layers })
    }

    /// The manifest. skopeo turns a manifest in Docker's format into OCI's: then its digest is not that of these bytes, but of the original.
    ///
    /// # Errors
    /// `Integrity` if it is not the one that was asked for.
    pub async fn manifest(&self, wanted: &Digest) -> Result<Vec<u8>> {
        let fetched = self.proxy.fetch_manifest_raw_oci(&self.image).await;
        let (digest, bytes) = fetched.map_err(|error| failed("fetch the manifest".to_owned(), error))?;
        if digest != wanted.as_str() {
            return Err(Error::integrity(format!("the image is {digest} now, and not {wanted}"))
                .with_hint("it was replaced meanwhile: run the command again"));
        }
        Ok(bytes)
    }

    /// The configuration that a manifest names.
    pub async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let what = || format!("fetch the configuration {}", descriptor.digest());
        let opened = self.proxy.get_descriptor(&self.image, descriptor).await;
        let (reader, driver) = opened.map_err(|error| failed(what(), error))?;
        let read = async {
            let mut bytes = Vec::new();
            reader.take(CONFIG_LIMIT).read_to_end(&mut bytes).await.map(|_| bytes)
        };
        let (bytes, finished) = tokio::join!(read, driver);
        finished.map_err(|error| failed(what(), error))?;
        bytes.map_err(|error| Error::io(what(), error))
    }

    /// Transfers a layer; `index` is its place in the manifest.
    pub async fn layer(
        self: Arc<Self>,
        index: usize,
        spec: LayerSpec,
        progress: LayerProgress,
        stream: layer::Sender,
    ) -> Result<LayerProgress> {
        let spec = self.as_stored(index, spec)?;
        let what = || format!("fetch layer {}", spec.digest);
        let digest: OciDigest = spec.digest.as_str().parse().map_err(|_| Error::internal(what()))?;
        let opened = self.proxy.get_blob_stream(&self.image, &digest, spec.size.unwrap_or_default()).await;
        let (reader, driver) = opened.map_err(|error| failed(what(), error))?.into_parts();
        let unpacking = {
            let spec = spec.clone();
            let reader = SyncIoBridge::new(reader);
            tokio::task::spawn_blocking(move || {
                unpack(reader, &spec, Shortage::Interrupted, progress, &stream)
            })
        };
        let (unpacked, finished) = tokio::join!(unpacking, driver);
        // Our own finding is more precise than what skopeo says of a transfer that we gave up.
        let progress = unpacked.map_err(|error| Error::internal(what()).with_source(error))??;
        // Without a known size skopeo complains about it at the end; what it gave was checked all the same.
        match finished {
            Err(error) if spec.size.is_some() => Err(failed(what(), error)),
            _ => Ok(progress),
        }
    }

    fn as_stored(&self, index: usize, spec: LayerSpec) -> Result<LayerSpec> {
        match &self.layers {
            Layers::AsInManifest => Ok(spec),
            Layers::ByContent => Ok(LayerSpec { digest: spec.diff_id.clone(), size: None, ..spec }),
            Layers::Described(layers) => {
                let missing =
                    || Error::integrity("the local store has fewer layers than the image's manifest");
                let info = layers.get(index).ok_or_else(missing)?;
                Ok(LayerSpec { digest: Digest::new(info.digest.to_string())?, size: Some(info.size), ..spec })
            }
        }
    }
}

async fn layers_in_store(proxy: &ImageProxy, image: &OpenedImage) -> Result<Layers> {
    let found =
        proxy.get_layer_info(image).await.map_err(|error| failed("list the layers".to_owned(), error))?;
    Ok(found.map_or(Layers::ByContent, Layers::Described))
}

/// The image's name for skopeo, with the digest in place of any tag.
fn pinned(reference: &ImageReference, manifest: &Digest) -> String {
    if reference.transport() != Transport::Registry {
        return reference.to_string();
    }
    format!("docker://{}@{manifest}", repository(reference.name()))
}

/// A name without tag and digest. A colon before the last slash belongs to the host's port.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn start_failed(error: containers_image_proxy::Error) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "images from this transport are read by skopeo, which cannot be started",
    )
    .with_hint("install the package skopeo")
    .with_source(error)
}

/// skopeo's errors are texts; what matters for the caller is told apart by a few words that it takes from containers/image.
fn failed(what: String, error: containers_image_proxy::Error) -> Error {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let (kind, hint) = if has(&["manifest unknown", "name unknown", "not found", "does not exist"]) {
        (ErrorKind::NotFound, "check the image's name and tag")
    } else if has(&["unauthorized", "authentication required", "denied"]) {
        (ErrorKind::Permission, "log in with `skopeo login`, or check the image's name")
    } else if has(&["policy.json", "signature", "Source image rejected"]) {
        (
            ErrorKind::Integrity,
            "see containers-policy.json(5): /etc/containers/policy.json decides which images are accepted",
        )
    } else if has(&["digest did not match", "does not match", "digest mismatch"]) {
        (ErrorKind::Integrity, "the registry's copy is damaged: push the image again")
    } else if has(&["server gave HTTP response to HTTPS client"]) {
        (
            ErrorKind::Interrupted,
            "for a registry without TLS set `insecure = true` in /etc/containers/registries.conf.d",
        )
    } else {
        (ErrorKind::Interrupted, "check the network and run the command again: layers that arrived are kept")
    };
    Error::new(kind, what).with_source(error).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_loses_tag_and_digest_but_not_its_port() {
        for (name, expected) in [
            ("host:5000/os:v1", "host:5000/os"),
            ("host:5000/os", "host:5000/os"),
            ("host/a/os@sha256:00", "host/a/os"),
            ("host:1/os:v1@sha256:00", "host:1/os"),
        ] {
            assert_eq!(repository(name), expected);
        }
    }

    #[test]
    fn other_transports_keep_their_name() {
        let digest = Digest::from_sha256([0; 32]);
        let local: ImageReference = "containers-storage:localhost/os:1".parse().unwrap();
        assert_eq!(pinned(&local, &digest), "containers-storage:localhost/os:1");
    }
}
