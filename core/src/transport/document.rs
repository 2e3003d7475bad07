//! The JSON documents of an image: text to types, no I/O.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha512};

use crate::{
    error::{Error, Result},
    model::{Digest, ImageReference, ImageSummary, LayerSummary},
    transport::architecture,
};

/// Upper bound of each document: what registries and the `containers/image` library accept for manifests.
pub(super) const LIMIT: u64 = 4 << 20;

/// Layers in an image: far beyond what any builder makes (overlayfs stops at 500).
const MAX_LAYERS: usize = 2000;

/// Annotation with the tag of an image in a layout (OCI image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const VERSION: &str = "org.opencontainers.image.version";

/// A reference to another document or to a layer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

impl Descriptor {
    /// The tag that a layout gives it.
    pub(super) fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(REF_NAME).map(String::as_str)
    }
}

/// A list of images: an OCI index or a Docker manifest list.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

/// One image's manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// What a document that a tag or digest names can be.
#[derive(Debug)]
pub(super) enum Document {
    Index(Index),
    Manifest(Manifest),
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    created: Option<String>,
    #[serde(rename = "config")]
    container: Option<ContainerConfig>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct ContainerConfig {
    /// Go writes an empty map as `null`.
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("{what} is malformed")).with_source(error))
}

impl Index {
    pub(super) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        parse(bytes, what)
    }
}

impl Document {
    /// Tells lists from manifests by what is in them: the media type is optional in both.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            schema_version: Option<u64>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let what = "the image's manifest";
        let shape: Shape = parse(bytes, what)?;
        match (shape.schema_version, shape.manifests) {
            (Some(1), _) => Err(Error::unsupported("the image has a manifest of Docker's schema 1")
                .with_hint("rebuild it or copy it with a current tool: schema 2 and OCI are read")),
            (_, Some(_)) => parse(bytes, what).map(Self::Index),
            (_, None) => parse(bytes, what).map(Self::Manifest),
        }
    }
}

impl Index {
    /// The entry for an architecture.
    ///
    /// # Errors
    /// `Unsupported`, naming the architectures that there are.
    pub(super) fn for_architecture(&self, wanted: &str) -> Result<&Descriptor> {
        if let Some(found) = self.manifests.iter().find(|entry| entry.is_for(wanted)) {
            return Ok(found);
        }
        // An entry that does not say may be the one: the configuration tells.
        if let [only] = self.manifests.as_slice()
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let has: Vec<_> = self.manifests.iter().filter_map(Descriptor::architecture).collect();
        let has = if has.is_empty() { "nothing that runs".to_owned() } else { has.join(", ") };
        Err(Error::unsupported(format!("the image is for {has}, and this machine is {wanted}"))
            .with_hint(format!("build or choose an image for {wanted}")))
    }
}

impl Descriptor {
    /// The architecture, unless it is that of an attestation (`unknown`).
    fn architecture(&self) -> Option<&str> {
        let platform = self.platform.as_ref().filter(|platform| platform.os == "linux")?;
        Some(architecture::oci_name(&platform.architecture))
    }

    fn is_for(&self, wanted: &str) -> bool {
        self.architecture() == Some(wanted)
    }
}

/// Compares a document with the digest that named it, and its length if that is known.
///
/// # Errors
/// `Integrity`.
pub(super) fn check(bytes: &[u8], digest: &Digest, size: Option<u64>, what: &str) -> Result<()> {
    let found = digest_like(digest, bytes)?;
    let right_size = size.is_none_or(|size| size == bytes.len() as u64);
    if found == *digest && right_size {
        return Ok(());
    }
    Err(Error::integrity(format!("{what} is not what its digest says"))
        .with_context("expected", digest)
        .with_context("found", found)
        .with_context("bytes", bytes.len()))
}

/// The digest of `bytes` in the algorithm of `like`.
fn digest_like(like: &Digest, bytes: &[u8]) -> Result<Digest> {
    if !like.as_str().starts_with("sha512:") {
        return Ok(Digest::of(bytes));
    }
    let mut text = String::from("sha512:");
    for byte in Sha512::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Digest::new(text)
}

/// Puts together what the documents say.
///
/// # Errors
/// `Unsupported` for another architecture or operating system, an artifact that is no image, or a layer in a format that
/// nothing here reads; `InvalidInput` if manifest and configuration disagree about the number of layers.
pub(super) fn summarise(
    reference: &ImageReference,
    digest: Digest,
    manifest: &Manifest,
    config: &[u8],
    wanted: &str,
) -> Result<ImageSummary> {
    let config: Config = parse(config, "the image's configuration")?;
    let architecture = architecture::oci_name(&config.architecture).to_owned();
    if architecture != wanted {
        let has = if architecture.is_empty() { "no architecture that it names" } else { &architecture };
        return Err(Error::unsupported(format!("the image is for {has}, and this machine is {wanted}"))
            .with_hint(format!("build or choose an image for {wanted}")));
    }
    if config.os != "linux" {
        return Err(Error::unsupported(format!(
            "the image is for the operating system {:?}, not linux",
            config.os
        )));
    }
    let labels = config.container.and_then(|container| container.labels).unwrap_or_default();
    let annotated = || manifest.annotations.as_ref()?.get(VERSION).cloned();
    Ok(ImageSummary {
        reference: reference.clone(),
        manifest_digest: digest,
        architecture,
        version: labels.get(VERSION).cloned().or_else(annotated),
        created: config.created,
        layers: layers(manifest, config.rootfs.diff_ids)?,
    })
}

fn layers(manifest: &Manifest, diff_ids: Vec<Digest>) -> Result<Vec<LayerSummary>> {
    let count = manifest.layers.len();
    if count != diff_ids.len() || count > MAX_LAYERS {
        return Err(Error::invalid(format!(
            "the image's manifest has {count} layers and its configuration {} (at most {MAX_LAYERS} are read)",
            diff_ids.len()
        )));
    }
    if let Some(odd) = manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        return Err(Error::unsupported(format!("the image has a layer of type {:?}", odd.media_type))
            .with_hint("tar layers are read, plain or compressed with gzip or zstd"));
    }
    let pairs = manifest.layers.iter().zip(diff_ids);
    Ok(pairs
        .map(|(layer, diff_id)| LayerSummary { digest: layer.digest.clone(), diff_id, size: layer.size })
        .collect())
}

impl Manifest {
    /// Refuses what has the form of an image but is none (charts, signatures, attestations).
    ///
    /// # Errors
    /// `Unsupported`, naming the media type.
    pub(super) fn check_is_image(&self) -> Result<()> {
        match self.config.media_type.as_str() {
            ""
            | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json" => Ok(()),
            other => Err(Error::unsupported(format!(
                "this is no system image: its configuration is of type {other:?}"
            ))),
        }
    }
}

/// OCI's `…layer.v1.tar`, its deprecated non-distributable form and Docker's, each plain or compressed.
fn is_layer(media_type: &str) -> bool {
    let known =
        ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"];
    let rest = known.iter().find_map(|prefix| media_type.strip_prefix(prefix));
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar");
    match (rest, docker) {
        (Some(rest), _) => matches!(rest, "" | "+gzip" | "+zstd"),
        (_, Some(rest)) => matches!(rest, "" | ".gzip" | ".zstd"),
        _ => media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
}
