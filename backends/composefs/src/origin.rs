//! `.origin` files: one small INI text per deployment.
//!
//! Sections `[origin]`, `[boot]` and `[image]` have the keys that bootc reads and writes (its `composefs_consts.rs` and
//! `bootc_composefs/state.rs`); `[bootwright]` is ours, and other tools pass over it.

use std::collections::BTreeMap;

use bootwright_core::{
    error::{Error, Result},
    model::{
        Deployment, DeploymentId, Digest, ImageReference, KernelArtifacts, PinnedImage, Stateroot, Transport,
    },
};

/// Prefix with which bootc stores references of images whose signature it did not check.
const UNVERIFIED: &str = "ostree-unverified-image:";

/// How a deployment's kernel is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BootType {
    /// Kernel and initrd.
    Split,
    /// A UKI.
    Unified,
}

/// What a deployment's `.origin` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// What others are told about it.
    pub deployment: Deployment,
    /// The deployment whose `/etc` it merges.
    pub merge_from: Option<DeploymentId>,
    /// How the kernel is packed.
    pub boot_type: BootType,
    /// SHA-256 that identifies the kernel, as bootc computes it, in hex.
    pub boot_digest: String,
    /// The kernel, if recorded: finding it again costs a pass over all layers.
    pub kernel: Option<KernelArtifacts>,
    /// The root arguments in order, as they stand on the command line.
    pub root_args: String,
}

impl Origin {
    /// The text of the file.
    pub fn print(&self) -> Result<String> {
        let deployment = &self.deployment;
        let image = &deployment.image;
        let mut ini = Ini::default();
        ini.set("origin", "container-image-reference", &format!("{UNVERIFIED}{}", deployment.origin));
        let boot_type = if self.boot_type == BootType::Unified { "uki" } else { "bls" };
        ini.set("boot", "boot_type", boot_type);
        ini.set("boot", "digest", &self.boot_digest);
        ini.set("image", "manifest_digest", image.manifest_digest.as_str());
        let own = "bootwright";
        ini.set(own, "stateroot", deployment.stateroot.as_str());
        ini.set(own, "reference", &image.reference.to_string());
        ini.set(own, "architecture", &image.architecture);
        ini.set_some(own, "version", image.version.as_deref());
        ini.set_some(own, "created", image.created.as_deref());
        ini.set_some(own, "merge_from", self.merge_from.as_ref().map(DeploymentId::as_str));
        ini.set(own, "finalized", if deployment.finalized { "true" } else { "false" });
        ini.set(own, "verified", if deployment.verified { "true" } else { "false" });
        ini.set(own, "root_args", &self.root_args);
        if let Some(kernel) = &self.kernel {
            let json = serde_json::to_string(kernel)
                .map_err(|error| Error::internal("describe the kernel").with_source(error))?;
            ini.set(own, "kernel", &json);
        }
        Ok(ini.print())
    }

    /// Reads a file that we or bootc wrote. What only we write has defaults.
    ///
    /// # Errors
    /// `InvalidInput` if it lacks the image or its digest.
    pub fn parse(id: DeploymentId, text: &str) -> Result<Self> {
        let ini = Ini::parse(text);
        let need = |section: &str, key: &str| {
            ini.get(section, key)
                .ok_or_else(|| Error::invalid(format!("the origin file of {id} has no {key} in [{section}]")))
        };
        let own = |key: &str| ini.get("bootwright", key);
        let origin = from_bootc(need("origin", "container-image-reference")?)?;
        let image = PinnedImage {
            reference: own("reference").and_then(|text| text.parse().ok()).unwrap_or_else(|| origin.clone()),
            manifest_digest: Digest::new(need("image", "manifest_digest")?)?,
            version: own("version").map(str::to_owned),
            created: own("created").map(str::to_owned),
            architecture: own("architecture").unwrap_or_default().to_owned(),
        };
        let stateroot = own("stateroot").map(Stateroot::new).transpose()?.unwrap_or_default();
        // Another tool writes the file when /etc is in place already.
        let finalized = own("finalized").is_none_or(|text| text == "true");
        let (verified, pinned_by_store) = (own("verified") == Some("true"), false);
        Ok(Self {
            merge_from: own("merge_from").map(DeploymentId::new).transpose()?,
            boot_type: if ini.get("boot", "boot_type") == Some("uki") {
                BootType::Unified
            } else {
                BootType::Split
            },
            boot_digest: ini.get("boot", "digest").unwrap_or_default().to_owned(),
            kernel: own("kernel").and_then(|json| serde_json::from_str(json).ok()),
            root_args: own("root_args").unwrap_or_default().to_owned(),
            deployment: Deployment { id, stateroot, image, origin, finalized, verified, pinned_by_store },
        })
    }
}

/// References of bootc carry what was checked about the image's signature before them, and have a short form for registries.
fn from_bootc(text: &str) -> Result<ImageReference> {
    let text = text.strip_prefix(UNVERIFIED).unwrap_or(text);
    if let Some(rest) = text.strip_prefix("ostree-unverified-registry:") {
        return ImageReference::new(Transport::Registry, rest);
    }
    text.parse()
}

/// Sections of keys with values. Order is kept by name, which is enough for files that programs write.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ini(BTreeMap<String, BTreeMap<String, String>>);

impl Ini {
    /// Reads `[section]` and `key = value` lines; anything else is passed over.
    fn parse(text: &str) -> Self {
        let mut ini = Self::default();
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.trim().clone_into(&mut section);
            } else if line.starts_with(['#', ';']) {
                // a comment
            } else if let Some((key, value)) = line.split_once('=') {
                ini.set(&section, key.trim(), value.trim());
            }
        }
        ini
    }

    fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.0.get(section)?.get(key).map(String::as_str)
    }

    /// A value is one line: line breaks would start another key.
    fn set(&mut self, section: &str, key: &str, value: &str) {
        let value = value.replace(['\n', '\r'], " ");
        self.0.entry(section.to_owned()).or_default().insert(key.to_owned(), value);
    }

    fn set_some(&mut self, section: &str, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(section, key, value);
        }
    }

    fn print(&self) -> String {
        let mut text = String::new();
        for (section, keys) in &self.0 {
            text.extend(["[", section, "]\n"]);
            for (key, value) in keys {
                text.extend([key, "=", value, "\n"]);
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> DeploymentId {
        DeploymentId::new("a".repeat(64)).unwrap()
    }

    fn sample() -> Origin {
        let image = PinnedImage {
            reference: "oci:/images/os:1".parse().unwrap(),
            manifest_digest: Digest::from_sha256([7; 32]),
            version: Some("13.2".to_owned()),
            created: Some("2026-01-01T00:00:00Z".to_owned()),
            architecture: "amd64".to_owned(),
        };
        let deployment = Deployment {
            id: id(),
            stateroot: Stateroot::new("other").unwrap(),
            image,
            origin: "docker://host.invalid/os:latest".parse().unwrap(),
            finalized: false,
            verified: true,
            pinned_by_store: false,
        };
        Origin {
            deployment,
            merge_from: Some(DeploymentId::new("b").unwrap()),
            boot_type: BootType::Split,
            boot_digest: "00".to_owned(),
            kernel: None,
            root_args: "composefs=00".to_owned(),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let origin = sample();
        assert_eq!(Origin::parse(id(), &origin.print().unwrap()).unwrap(), origin);
        let least = Origin { merge_from: None, boot_type: BootType::Unified, ..sample() };
        assert_eq!(Origin::parse(id(), &least.print().unwrap()).unwrap(), least);
    }

    /// spec: BW-316
    #[test]
    fn a_file_of_another_tool_is_understood() {
        let digest = Digest::from_sha256([1; 32]);
        let text = format!(
            "[boot]\nboot_type = uki\ndigest = ab\n[image]\nmanifest_digest = {digest}\n\
             [origin]\ncontainer-image-reference = ostree-unverified-image:docker://host.invalid/os\n"
        );
        let origin = Origin::parse(id(), &text).unwrap();
        assert_eq!(origin.boot_type, BootType::Unified);
        assert_eq!(origin.deployment.origin.to_string(), "docker://host.invalid/os");
        assert!(origin.deployment.finalized && !origin.deployment.verified);
        assert_eq!(origin.deployment.stateroot, Stateroot::default());
    }

    #[test]
    fn a_file_without_image_or_digest_is_refused_by_the_missing_key() {
        let error = Origin::parse(id(), "[origin]\n").unwrap_err();
        assert!(error.message().contains("container-image-reference"), "{error}");
    }

    #[test]
    fn a_value_cannot_start_a_line_of_its_own() {
        let mut origin = sample();
        origin.deployment.image.version = Some("1\nfinalized=true".to_owned());
        let back = Origin::parse(id(), &origin.print().unwrap()).unwrap();
        assert!(!back.deployment.finalized);
    }
}
