//! Checking signatures: skopeo copies the image, by its digest, to a place that has every layer already.
//!
//! skopeo enforces a policy whenever it copies, and only then; it has no command for the check alone. So it is given a layout whose folder of blobs
//! has an empty file in the place of each layer: it finds them there, and transfers manifest, signatures and configuration only. A
//! skopeo that would look closer would transfer the layers: slower, and no less safe.
//!
//! The image is named by digest, so that what is verified is what was looked up. That alone would let a signature for another tag of the same
//! repository pass; so the identity that a signature must have is spelled out beforehand, from the name that the administrator gave.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::scope::FullName;
use crate::{
    error::{Error, ErrorKind, IoContext, Result},
    fs::{Faults, ReplaceStyle, Root},
    model::{ImageSummary, Transport},
    process::Tool,
    transport::skopeo,
};

/// Demands that the image with the digest that was looked up meets these requirements.
pub(super) fn verify(
    requirements: &[&Map<String, Value>],
    image: &ImageSummary,
    variables: &[(String, String)],
) -> Result<()> {
    if image.reference.transport() != Transport::Registry {
        return Err(cannot_be_checked(image));
    }
    let name = FullName::of(image.reference.name());
    let exact: Vec<_> = requirements.iter().map(|text| Value::Object(exactly(text, &name))).collect();
    let folder = tempfile::tempdir().context_io(|| "make a temporary folder".to_owned())?;
    let root = Root::open(folder.path(), Faults::none())?;
    let policy = json!({ "default": exact }).to_string();
    root.replace("policy.json", policy.as_bytes(), ReplaceStyle::Relaxed)?;
    for layer in &image.layers {
        let blob = format!("blobs/{}", layer.digest.as_str().replacen(':', "/", 1));
        root.replace(&blob, b"", ReplaceStyle::Relaxed)?;
    }
    let source = format!("docker://{}@{}", name.repository, image.manifest_digest);
    copy(&source, folder.path(), variables)
}

fn cannot_be_checked(image: &ImageSummary) -> Error {
    let transport = image.reference.transport();
    Error::unsupported(format!(
        "the policy demands a signature, which cannot be checked for images from {}",
        transport.prefix()
    ))
    .with_hint(
        "take the image from a registry (docker://), or have a rule for this transport added to the policy",
    )
}

fn copy(source: &str, folder: &Path, variables: &[(String, String)]) -> Result<()> {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut tool = Tool::new("skopeo").package("skopeo").args(["--policy", &at("policy.json")]);
    tool = tool.args(["copy", "--quiet", "--remove-signatures", "--dest-shared-blob-dir", &at("blobs")]);
    tool = tool.args([source, &format!("oci:{}", at("copy"))]);
    for (name, value) in variables {
        tool = tool.env(name, value);
    }
    let output = tool.output_blocking()?;
    if output.status.success() { Ok(()) } else { Err(explain(source, &output.stderr)) }
}

fn explain(source: &str, stderr: &str) -> Error {
    let said = skopeo::last_message(stderr);
    if said.contains("Error loading trust policy") {
        return Error::invalid(format!("skopeo does not understand what the policy demands of {source}: {said}"))
            .with_hint("correct it as containers-policy.json(5) describes, or use a newer skopeo; until then such images are not let in");
    }
    if said.contains("Source image rejected") || said.contains("signature") {
        return Error::new(ErrorKind::Integrity, format!("{source} has no signature that the policy accepts: {said}"))
            .with_hint("have the image signed by a key that the policy names, for this very name; see containers-policy.json(5) and containers-registries.d(5)");
    }
    skopeo::explain(source, stderr)
}

/// A requirement for exactly the image that the administrator named, where it leaves that to the name under which the image is copied.
fn exactly(requirement: &Map<String, Value>, name: &FullName) -> Map<String, Value> {
    let mut exact = requirement.clone();
    if name.version.starts_with('@') {
        return exact;
    }
    let identity = requirement.get("signedIdentity");
    let field = |key: &str| identity.and_then(|identity| identity.get(key)).and_then(Value::as_str);
    let signed_as = match (identity, field("type")) {
        (None, _) | (_, Some("matchExact" | "matchRepoDigestOrExact")) => name.repository.clone(),
        (_, Some("remapIdentity")) => remapped(
            &name.repository,
            field("prefix").unwrap_or_default(),
            field("signedPrefix").unwrap_or_default(),
        ),
        // By repository, or by a name that the policy spells out: the same for every tag. Unknown ones skopeo refuses.
        _ => return exact,
    };
    let reference = format!("{signed_as}{}", name.version);
    exact.insert(
        "signedIdentity".to_owned(),
        json!({ "type": "exactReference", "dockerReference": reference }),
    );
    exact
}

/// A repository's name with another beginning, if it has the first one.
fn remapped(repository: &str, prefix: &str, signed_prefix: &str) -> String {
    match repository.strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() && (rest.is_empty() || rest.starts_with('/')) => {
            format!("{signed_prefix}{rest}")
        }
        _ => repository.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(given: Option<Value>, name: &str) -> Option<Value> {
        let mut requirement = Map::new();
        if let Some(given) = given {
            requirement.insert("signedIdentity".to_owned(), given);
        }
        exactly(&requirement, &FullName::of(name)).remove("signedIdentity")
    }

    /// spec: BW-612
    #[test]
    fn a_signature_must_be_for_the_tag_that_was_asked_for() {
        let exact = |reference: &str| Some(json!({"type": "exactReference", "dockerReference": reference}));
        assert_eq!(identity(None, "h.example/os:v1"), exact("h.example/os:v1"));
        assert_eq!(
            identity(Some(json!({"type": "matchExact"})), "h.example/os"),
            exact("h.example/os:latest")
        );
        let remap = json!({"type": "remapIdentity", "prefix": "mirror/x", "signedPrefix": "h.example"});
        assert_eq!(identity(Some(remap.clone()), "localhost/x/os:v1"), exact("localhost/x/os:v1"));
        let remap = json!({"type": "remapIdentity", "prefix": "m.example/x", "signedPrefix": "h.example"});
        assert_eq!(identity(Some(remap), "m.example/x/os:v1"), exact("h.example/os:v1"));
    }

    #[test]
    fn an_identity_that_does_not_depend_on_the_tag_stays() {
        let repository = json!({"type": "matchRepository"});
        assert_eq!(identity(Some(repository.clone()), "h.example/os:v1"), Some(repository));
        assert_eq!(identity(None, &format!("h.example/os@sha256:{}", "a".repeat(64))), None);
    }
}
