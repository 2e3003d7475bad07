//! A registry of a few lines on loopback, asked through the real skopeo.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
};

use super::fixture::{Layout, digest};
use crate::{
    Error, ErrorKind,
    model::{ImageReference, ImageSummary},
    transport::{skopeo::Skopeo, source},
};

/// Serves a layout: manifests by tag or digest, and blobs. Lives as long as the process.
pub(super) struct Registry {
    port: u16,
    home: tempfile::TempDir,
}

impl Registry {
    pub(super) fn serve(layout: &Path, tag: &'static str, manifest: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (layout, manifest) = (layout.to_owned(), manifest.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(&stream, &layout, tag, &manifest);
            }
        });
        let home = tempfile::tempdir().unwrap();
        let settings = home.path().join(".config/containers");
        fs::create_dir_all(&settings).unwrap();
        let allowed = format!("[[registry]]\nlocation = \"localhost:{port}\"\ninsecure = true\n");
        fs::write(settings.join("registries.conf"), allowed).unwrap();
        Self { port, home }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The home folder in whose settings this registry is allowed.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn look(&self, name: &str) -> Result<ImageSummary, Error> {
        let reference: ImageReference = format!("docker://localhost:{}/{name}", self.port).parse().unwrap();
        source::inspect(&Skopeo::new(&reference).with_home(self.home.path()), &reference, "amd64")
    }
}

/// The part of the distribution specification that a look-up needs; only the repository `os` exists.
fn answer(stream: &TcpStream, layout: &Path, tag: &str, manifest: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let blob = |digest: &str| -> PathBuf { layout.join("blobs").join(digest.replace(':', "/")) };
    let file = match path.strip_prefix("/v2/os/").and_then(|rest| rest.split_once('/')) {
        Some(("manifests", name)) if name == tag => Some(blob(manifest)),
        Some(("manifests" | "blobs", name)) => Some(blob(name)),
        _ => None,
    };
    let body = file.and_then(|file| fs::read(file).ok());
    let (status, body) = match (path, body) {
        ("/v2/", _) => ("200 OK", b"{}".to_vec()),
        (_, Some(body)) => ("200 OK", body),
        _ => (
            "404 Not Found",
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec(),
        ),
    };
    let kind = if body.windows(11).any(|window| window == b"\"manifests\"") { "index" } else { "manifest" };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.oci.image.{kind}.v1+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

#[test]
fn an_image_in_a_registry_is_looked_up_by_tag_and_by_digest() {
    let layout = Layout::with_one_image();
    let registry = Registry::serve(layout.path(), "v1", layout.manifest());
    let by_tag = registry.look("os:v1").unwrap();
    assert_eq!(
        (by_tag.manifest_digest.clone(), by_tag.version.as_deref()),
        (digest(layout.manifest()), Some("42"))
    );
    for name in [format!("os@{}", layout.manifest()), format!("os:v1@{}", layout.manifest())] {
        assert_eq!(registry.look(&name).unwrap().manifest_digest, by_tag.manifest_digest, "{name}");
    }
}

#[test]
fn a_list_in_a_registry_is_resolved_by_architecture() {
    let mut layout = Layout::new();
    let list = layout.list(&["arm64", "amd64"]);
    layout.tag("v1", list);
    let registry = Registry::serve(layout.path(), "v1", layout.manifest());
    let found = registry.look("os:v1").unwrap();
    assert_eq!(found.architecture, "amd64");
    assert_ne!(found.manifest_digest, digest(layout.manifest()), "that is the list's digest");
}

/// spec: BW-507
#[test]
fn a_tag_or_repository_that_does_not_exist_is_not_found() {
    let layout = Layout::with_one_image();
    let registry = Registry::serve(layout.path(), "v1", layout.manifest());
    for name in ["os:v2", "other:v1"] {
        let error = registry.look(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// spec: BW-505
#[test]
fn a_configuration_that_a_registry_changed_is_an_integrity_error() {
    let layout = Layout::with_one_image();
    let config = layout.blob(&layout.config_of(layout.manifest()));
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("42", "43")).unwrap();
    let registry = Registry::serve(layout.path(), "v1", layout.manifest());
    let error = registry.look("os:v1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
}

/// spec: BW-507
#[test]
fn a_registry_that_cannot_be_reached_is_an_interruption() {
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let reference: ImageReference = format!("docker://localhost:{unused}/os:v1").parse().unwrap();
    let error = source::inspect(&Skopeo::new(&reference), &reference, "amd64").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert!(error.hint().is_some());
}
