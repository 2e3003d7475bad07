//! Policies against images: what the file alone decides, and real signatures checked by the real skopeo.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{fixture::Layout, registry::Registry};
use crate::{
    Error, ErrorKind,
    model::ImageSummary,
    transport::{
        inspect_blocking,
        policy::{Admission, ImagePolicy},
    },
};

fn accept() -> Value {
    json!([{"type": "insecureAcceptAnything"}])
}

fn reject() -> Value {
    json!([{"type": "reject"}])
}

fn signed() -> Value {
    json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/nonexistent"}])
}

/// What a policy says of an image by this name; nothing is looked up.
fn ask(policy: &str, reference: &str) -> Result<Admission, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    fs::write(&path, policy).unwrap();
    let layout = Layout::with_one_image();
    let summary = inspect_blocking(&layout.reference("v1"), Some("amd64")).unwrap();
    let reference = reference.parse().unwrap();
    ImagePolicy::at(path).admit_blocking(&ImageSummary { reference, ..summary })
}

/// spec: BW-611
#[test]
fn the_most_specific_scope_decides() {
    // Where a name without a host is looked for.
    let usual = "os".parse::<oci_spec::distribution::Reference>().unwrap();
    let usual = format!("{}/{}", usual.registry(), usual.repository());
    let scopes = json!({
        "default": reject(),
        "transports": {"docker": {
            "example.com": reject(),
            "example.com/team": accept(),
            "example.com/team/os": reject(),
            "example.com/team/os:good": accept(),
            "*.example.org": accept(),
            "bad.example.org": reject(),
            (usual): accept(),
        }}
    });
    for (name, accepted) in [
        ("example.com/other", false),
        ("example.com/team/app", true),
        ("example.com/team/app/sub", true),
        ("example.com/teams", false),
        ("example.com/team/os", false),
        ("example.com/team/os:good", true),
        ("example.com/team/os:bad", false),
        ("a.example.org/x", true),
        ("a.b.example.org:5000/x", true),
        ("bad.example.org/x", false),
        ("example.org/x", false),
        ("os", true),
        ("other", false),
    ] {
        let found = ask(&scopes.to_string(), &format!("docker://{name}"));
        assert_eq!(found.is_ok(), accepted, "{name}: {found:?}");
    }
}

/// spec: BW-610
#[test]
fn a_rejection_holds_for_every_transport() {
    let layout = Layout::with_one_image();
    let elsewhere = tempfile::tempdir().unwrap();
    let archive = layout.archive(&elsewhere.path().join("a.tar"), "v1");
    let images = [
        layout.reference("v1").to_string(),
        archive.to_string(),
        "docker://h/os".to_owned(),
        "containers-storage:localhost/os:1".to_owned(),
    ];
    for image in images {
        let policy = |default: Value, transport: Option<Value>| {
            let name = image.split_once(':').unwrap().0;
            let scopes = transport.map_or_else(|| json!({}), |list| json!({ name: {"": list} }));
            json!({"default": default, "transports": scopes}).to_string()
        };
        let refused = |policy: &str| ask(policy, &image).unwrap_err().kind();
        assert_eq!(refused(&policy(reject(), None)), ErrorKind::Permission, "{image}");
        assert_eq!(refused(&policy(accept(), Some(reject()))), ErrorKind::Permission, "{image}");
        assert_eq!(
            ask(&policy(reject(), Some(accept())), &image).unwrap(),
            Admission::Unrestricted,
            "{image}"
        );
    }
}

/// spec: BW-613
#[test]
fn a_signature_that_cannot_be_checked_is_a_refusal() {
    let layout = Layout::with_one_image();
    let elsewhere = tempfile::tempdir().unwrap();
    let archive = layout.archive(&elsewhere.path().join("a.tar"), "v1").to_string();
    for image in [&layout.reference("v1").to_string(), &archive, "containers-storage:localhost/os:1"] {
        let error = ask(&json!({ "default": signed() }).to_string(), image).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("docker://")), "{error:?}");
    }
}

/// spec: BW-611
#[test]
fn folders_are_scopes_with_links_followed() {
    let layout = Layout::with_one_image();
    let real = fs::canonicalize(layout.path()).unwrap();
    let link = layout.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let around = real.parent().unwrap();
    for (scope, accepted) in
        [(real.as_path(), true), (around, true), (link.as_path(), false), (Path::new("/nowhere"), false)]
    {
        let policy = json!({"default": reject(), "transports": {"oci": {scope.to_str().unwrap(): accept()}}});
        let found = ask(&policy.to_string(), &format!("oci:{}:v1", link.display()));
        assert_eq!(found.is_ok(), accepted, "{}: {found:?}", scope.display());
    }
}

/// spec: BW-611
#[test]
fn in_the_local_store_every_scope_that_may_be_meant_has_to_accept() {
    let ask = |scope: &str, image: &str| {
        let policy = json!({"default": accept(), "transports": {"containers-storage": {scope: reject()}}});
        ask(&policy.to_string(), &format!("containers-storage:{image}")).is_ok()
    };
    assert!(!ask("[overlay@/var/lib/containers/storage]localhost/os", "localhost/os:1"));
    assert!(!ask("[/var/lib/containers/storage]", "localhost/os:1"));
    assert!(!ask("[/x]localhost/os", "0123456789ab"), "an id may be of any name");
    assert!(ask("[/x]localhost/other", "localhost/os:1"));
}

/// spec: BW-613
#[test]
fn a_policy_that_is_not_understood_lets_nothing_in() {
    for policy in [
        "",
        "[]",
        "{}",
        r#"{"default": []}"#,
        r#"{"default": [{}]}"#,
        r#"{"default": [{"type": "insecureacceptanything"}]}"#,
        r#"{"default": [{"type": "insecureAcceptAnything", "unless": 1}]}"#,
        r#"{"default": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}]}"#,
        r#"{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}"#,
        r#"{"default": [{"type": "insecureAcceptAnything"}], "transport": {}}"#,
        r#"{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"h": [{"type": "reject"}], "h": [{"type": "insecureAcceptAnything"}]}}}"#,
    ] {
        let error = ask(policy, "docker://h/os").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{policy}: {error}");
    }
}

/// spec: BW-614
#[test]
fn a_host_without_a_policy_lets_images_in_unseen() {
    let layout = Layout::with_one_image();
    let summary = inspect_blocking(&layout.reference("v1"), Some("amd64")).unwrap();
    let missing = ImagePolicy::at(layout.path().join("none.json"));
    assert_eq!(missing.admit_blocking(&summary).unwrap(), Admission::Unrestricted);
}

/// An image in a registry, signed as `v1` by the first of two keys; the signature is where registries.d says.
struct Signed {
    registry: Registry,
    folder: tempfile::TempDir,
    layout: Layout,
}

impl Signed {
    fn new() -> Self {
        let layout = Layout::with_one_image();
        let registry = Registry::serve(layout.path(), "v1", layout.manifest());
        let folder = tempfile::tempdir().unwrap();
        let signed = Self { registry, folder, layout };
        for key in ["good", "other"] {
            signed.gpg(&["--quick-gen-key", &format!("{key}@example.com"), "rsa2048"]);
            signed.gpg(&["--export", "--armor", "--output", &signed.key(key), key]);
        }
        let configuration = format!(
            "docker:\n  localhost:{}:\n    lookaside: file://{}\n",
            signed.registry.port(),
            signed.folder.path().join("signatures").display()
        );
        let place = signed.registry.home().join(".config/containers/registries.d");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("test.yaml"), configuration).unwrap();
        signed
    }

    fn gpg(&self, args: &[&str]) {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--passphrase", ""]).args(args);
        run(command.env("GNUPGHOME", self.folder.path()));
    }

    fn key(&self, name: &str) -> String {
        self.folder.path().join(name).with_extension("asc").display().to_string()
    }

    fn sign(&self, manifest: &str) {
        let at = self.folder.path().join("signatures").join(format!("os@{}", manifest.replace(':', "=")));
        fs::create_dir_all(&at).unwrap();
        let manifest = self.layout.blob(manifest);
        let name = format!("localhost:{}/os:v1", self.registry.port());
        let mut command = Command::new("skopeo");
        command
            .arg("standalone-sign")
            .arg(manifest)
            .args([&name, "good@example.com", "--output"])
            .arg(at.join("signature-1"));
        run(command.env("GNUPGHOME", self.folder.path()));
    }

    fn admit(&self, summary: &ImageSummary, key: &str, identity: Option<Value>) -> Result<Admission, Error> {
        let mut rule = json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": self.key(key)});
        if let Some(identity) = identity {
            rule["signedIdentity"] = identity;
        }
        self.admit_by(summary, &rule)
    }

    fn admit_by(&self, summary: &ImageSummary, rule: &Value) -> Result<Admission, Error> {
        let scope = format!("localhost:{}/os", self.registry.port());
        let policy = json!({"default": reject(), "transports": {"docker": {scope: [rule]}}});
        let path: PathBuf = self.folder.path().join("policy.json");
        fs::write(&path, policy.to_string()).unwrap();
        ImagePolicy::at(path).with_home(self.registry.home()).admit_blocking(summary)
    }
}

impl Drop for Signed {
    /// The agent that gpg starts would outlive the test.
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("GNUPGHOME", self.folder.path()).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// spec: BW-612
#[test]
fn a_signature_counts_by_its_key_its_image_and_its_name() {
    let signed = Signed::new();
    let image = signed.registry.look("os:v1").unwrap();
    let refused = |result: Result<Admission, Error>| result.unwrap_err().kind();
    assert_eq!(refused(signed.admit(&image, "good", None)), ErrorKind::Integrity, "not signed yet");
    signed.sign(image.manifest_digest.as_str());
    assert_eq!(signed.admit(&image, "good", None).unwrap(), Admission::Verified);
    assert_eq!(refused(signed.admit(&image, "other", None)), ErrorKind::Integrity);

    let by_name = |name: &str| {
        let reference = format!("docker://localhost:{}/{name}", signed.registry.port()).parse().unwrap();
        ImageSummary { reference, ..image.clone() }
    };
    assert_eq!(refused(signed.admit(&by_name("os:v2"), "good", None)), ErrorKind::Integrity, "signed as v1");
    let repository = Some(json!({"type": "matchRepository"}));
    assert_eq!(signed.admit(&by_name("os:v2"), "good", repository).unwrap(), Admission::Verified);
    let digest = by_name(&format!("os@{}", image.manifest_digest));
    assert_eq!(signed.admit(&digest, "good", None).unwrap(), Admission::Verified);
    assert_eq!(
        refused(signed.admit(&by_name("app:v1"), "good", None)),
        ErrorKind::Permission,
        "another scope"
    );
}

/// spec: BW-613
#[test]
fn a_demand_that_cannot_be_checked_is_a_refusal_even_of_a_signed_image() {
    let signed = Signed::new();
    let image = signed.registry.look("os:v1").unwrap();
    signed.sign(image.manifest_digest.as_str());
    let key = signed.key("good");
    for rule in [
        json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/nonexistent"}),
        json!({"type": "signedBy", "keyType": "GPGKeys"}),
        json!({"type": "signedBy", "keyType": "someKeys", "keyPath": key}),
        json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": key, "unless": "asked"}),
        json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": key, "signedIdentity": {"type": "any"}}),
        json!({"type": "sigstoreSigned", "keyPath": key}),
    ] {
        let error = signed.admit_by(&image, &rule).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Integrity | ErrorKind::Io),
            "{rule}: {error:?}"
        );
    }
    assert_eq!(signed.admit(&image, "good", None).unwrap(), Admission::Verified);
}

/// A registry may answer the check with a signed image and the download with another: what counts is the digest that was looked up.
///
/// spec: BW-612
#[test]
fn a_signature_for_another_image_of_the_same_name_does_not_count() {
    let signed = Signed::new();
    let image = signed.registry.look("os:v1").unwrap();
    signed.sign(image.manifest_digest.as_str());
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [super::fixture::fake_digest("e")]}});
    let evil = signed.layout.image_with(&config, super::fixture::OCI);
    let evil = super::fixture::digest(evil["digest"].as_str().unwrap());
    let swapped = ImageSummary { manifest_digest: evil, ..image };
    assert_eq!(signed.admit(&swapped, "good", None).unwrap_err().kind(), ErrorKind::Integrity);
}
