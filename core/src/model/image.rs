//! Where an image comes from, and what is known of it before and after it is fetched.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::error::{Error, Result};

/// How an image is reached (containers-transports(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A registry, over HTTP(S): `docker://host/name:tag`.
    Registry,
    /// An OCI layout in a folder: `oci:/path:tag`.
    Oci,
    /// An OCI layout in a tar file: `oci-archive:/path.tar:tag`.
    OciArchive,
    /// The local store that podman and buildah share: `containers-storage:name:tag`.
    ContainersStorage,
}

impl Transport {
    const ALL: [Self; 4] = [Self::Registry, Self::Oci, Self::OciArchive, Self::ContainersStorage];

    /// The prefix in an image reference, with its colon or slashes.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Registry => "docker://",
            Self::Oci => "oci:",
            Self::OciArchive => "oci-archive:",
            Self::ContainersStorage => "containers-storage:",
        }
    }

    /// The name that `org.containers.bootc/v1` status documents use.
    pub const fn status_name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::ContainersStorage => "containers-storage",
        }
    }
}

/// An image, as a person names it: transport and name, with tag or digest if given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    transport: Transport,
    name: String,
}

impl ImageReference {
    /// Puts a reference together.
    ///
    /// # Errors
    /// `InvalidInput` if `name` is empty, starts with `-` (it would be read as an option by helpers) or holds
    /// white space or control characters.
    pub fn new(transport: Transport, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if name.is_empty() || name.starts_with('-') || name.chars().any(odd) {
            return Err(Error::invalid(format!("{name:?} is not an image name"))
                .with_hint("for example docker://host/name:tag or oci:/path/to/layout:tag"));
        }
        Ok(Self { transport, name })
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The part behind the transport's prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For `oci:` and `oci-archive:`, the path and the tag, if there is one.
    ///
    /// The tag is what follows the first colon (containers-transports(5), `oci:path[:reference]`).
    pub fn path_and_tag(&self) -> (&str, Option<&str>) {
        match self.name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (&self.name, None),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.transport.prefix(), self.name)
    }
}

impl FromStr for ImageReference {
    type Err = Error;

    /// Reads `oci:…`, `oci-archive:…`, `docker://…`, `containers-storage:…`; anything without a known
    /// transport is taken as the name of an image in a registry, as other tools of the field do.
    fn from_str(text: &str) -> Result<Self> {
        for transport in Transport::ALL {
            if let Some(name) = text.strip_prefix(transport.prefix()) {
                return Self::new(transport, name);
            }
        }
        if let Some((unknown, _)) = text.split_once(':').filter(|(t, _)| OTHER_TRANSPORTS.contains(t)) {
            return Err(Error::unsupported(format!("images cannot be read from {unknown:?}")).with_hint(
                "copy it with `skopeo copy` to oci:, oci-archive:, docker:// or containers-storage:",
            ));
        }
        Self::new(Transport::Registry, text.strip_prefix("registry:").unwrap_or(text))
    }
}

/// Transports of containers-transports(5) that are refused by name rather than taken for a host.
const OTHER_TRANSPORTS: &[&str] = &["docker-archive", "docker-daemon", "dir", "ostree", "sif", "tarball"];

impl TryFrom<String> for ImageReference {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(image: ImageReference) -> Self {
        image.to_string()
    }
}

/// One layer of an image, as its manifest and configuration describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// Digest of the blob as transferred (usually compressed).
    pub digest: Digest,
    /// Digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// Size of the blob as transferred, in bytes.
    pub size: u64,
}

/// What manifest and configuration say of an image before any layer is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The reference that was looked up.
    pub reference: ImageReference,
    /// Digest of the manifest (of this architecture, if the reference names a list).
    pub manifest_digest: Digest,
    /// Architecture in OCI's words (`amd64`, `arm64`, …).
    pub architecture: String,
    /// Version label, if the image has one (`org.opencontainers.image.version`).
    pub version: Option<String>,
    /// Time of creation, RFC 3339, if recorded.
    pub created: Option<String>,
    /// Layers, lowest first.
    pub layers: Vec<LayerSummary>,
}

/// An image whose every byte is in a backend's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedImage {
    /// The reference that it was fetched by.
    pub reference: ImageReference,
    /// Digest of its manifest.
    pub manifest_digest: Digest,
    /// Version label, if it has one.
    pub version: Option<String>,
    /// Time of creation, RFC 3339, if recorded.
    pub created: Option<String>,
    /// Architecture in OCI's words.
    pub architecture: String,
}

/// For when every byte has arrived.
impl From<&ImageSummary> for PinnedImage {
    fn from(image: &ImageSummary) -> Self {
        Self {
            reference: image.reference.clone(),
            manifest_digest: image.manifest_digest.clone(),
            version: image.version.clone(),
            created: image.created.clone(),
            architecture: image.architecture.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// spec: BW-506
    #[test]
    fn every_transport_reads_back_what_it_prints() {
        for text in ["docker://h/n:t", "oci:/p:t", "oci-archive:/p.tar", "containers-storage:localhost/x"] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bare_name_is_a_registry_image() {
        let image: ImageReference = "localhost:5000/os:1".parse().unwrap();
        assert_eq!((image.transport(), image.name()), (Transport::Registry, "localhost:5000/os:1"));
    }

    /// spec: BW-506
    #[test]
    fn a_transport_that_cannot_be_read_is_named_in_the_error() {
        let error = "docker-archive:/x.tar".parse::<ImageReference>().unwrap_err();
        assert!(error.to_string().contains("docker-archive"), "{error}");
    }

    #[test]
    fn a_name_that_looks_like_an_option_is_refused() {
        assert!("docker://--policy".parse::<ImageReference>().is_err());
    }
}
