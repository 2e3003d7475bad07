//! Manifest and configuration of an image that is about to be fetched, and what they say of its layers.

use containers_image_proxy::oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};

use super::{layer::LayerSpec, source::Source};
use crate::{
    error::{Error, Result},
    model::Digest,
};

/// The documents of an image, byte by byte as they were fetched, and checked against the digests that named them.
#[derive(Debug)]
pub struct Documents {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The configuration's digest.
    pub config_digest: Digest,
    /// The layers, lowest first. Never empty.
    pub layers: Vec<LayerSpec>,
}

impl Documents {
    /// Reads them.
    ///
    /// # Errors
    /// `InvalidInput` if they are malformed or do not agree on the number of layers; those of reading either of them.
    pub async fn read(source: &Source, manifest_digest: &Digest) -> Result<Self> {
        let manifest = source.manifest(manifest_digest).await?;
        let parsed: ImageManifest = parse(&manifest, "manifest")?;
        let config = source.config(parsed.config()).await?;
        let layers = specs(&parsed, &parse(&config, "configuration")?)?;
        let config_digest = Digest::new(parsed.config().digest().to_string())?;
        Ok(Self { manifest, config, config_digest, layers })
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::invalid(format!("the image's {what} is malformed"))
            .with_hint("only OCI container images can be deployed, not other artifacts")
            .with_source(error)
    })
}

fn specs(manifest: &ImageManifest, config: &ImageConfiguration) -> Result<Vec<LayerSpec>> {
    let (layers, diff_ids) = (manifest.layers(), config.rootfs().diff_ids());
    if layers.len() != diff_ids.len() || layers.is_empty() {
        return Err(Error::invalid(format!(
            "the image's manifest has {} layers, and its configuration {}",
            layers.len(),
            diff_ids.len()
        ))
        .with_hint("build the image again"));
    }
    let spec = |(layer, diff_id): (&Descriptor, &String)| {
        Ok(LayerSpec {
            digest: Digest::new(layer.digest().to_string())?,
            diff_id: Digest::new(diff_id.as_str())?,
            size: Some(layer.size()),
        })
    };
    layers.iter().zip(diff_ids).map(spec).collect()
}
