//! `docker://` and `containers-storage:`: what `skopeo inspect` says.

use super::{
    document::{Descriptor, LIMIT},
    source::{Documents, Expected},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Digest, ImageReference, Transport},
    process::Tool,
};

/// An image that skopeo can reach.
#[derive(Debug)]
pub(super) struct Skopeo<'a> {
    reference: &'a ImageReference,
    /// Environment for tests: a home with its own registries.conf.
    variables: Vec<(String, String)>,
}

impl<'a> Skopeo<'a> {
    pub(super) fn new(reference: &'a ImageReference) -> Self {
        Self { reference, variables: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn with_home(mut self, home: &std::path::Path) -> Self {
        self.variables.push(("HOME".to_owned(), home.display().to_string()));
        self
    }

    /// The reference with a digest in the place of tag or digest, so that a tag that moves between two calls does no harm.
    /// The local store has no such race, and does not find every image by digest.
    fn pinned(&self, digest: &Digest) -> String {
        match self.reference.transport() {
            Transport::Registry => {
                let (repository, _) = split_name(self.reference.name());
                format!("{}{repository}@{digest}", self.reference.transport().prefix())
            }
            _ => self.reference.to_string(),
        }
    }

    fn inspect(&self, image: &str, options: &[&str]) -> Result<Vec<u8>> {
        let mut tool = Tool::new("skopeo").package("skopeo").arg("inspect").arg("--raw");
        tool = tool.args(options.iter().copied()).arg(image).output_limit(LIMIT);
        for (name, value) in &self.variables {
            tool = tool.env(name, value);
        }
        let output = tool.output_blocking()?;
        if output.status.success() { Ok(output.stdout) } else { Err(explain(image, &output.stderr)) }
    }
}

impl Documents for Skopeo<'_> {
    fn top(&self, _: &str) -> Result<(Vec<u8>, Option<Expected>)> {
        let (repository, digest) = split_name(self.reference.name());
        // A name with both tag and digest is refused by skopeo; the digest is what counts.
        let image = format!(
            "{}{}",
            self.reference.transport().prefix(),
            match digest {
                Some(digest) => format!("{repository}@{digest}"),
                None => self.reference.name().to_owned(),
            }
        );
        let expected = digest.map(Digest::new).transpose()?.map(|digest| Expected { digest, size: None });
        Ok((self.inspect(&image, &[])?, expected))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.inspect(&self.pinned(&descriptor.digest), &[])
    }

    fn config(&self, manifest_digest: &Digest, _: &Descriptor) -> Result<Vec<u8>> {
        self.inspect(&self.pinned(manifest_digest), &["--config"])
    }
}

/// Repository (without tag) and digest of an image name.
pub(super) fn split_name(name: &str) -> (&str, Option<&str>) {
    // The place of a local store, or an address, may stand in brackets before the name, and hold an @ of its own.
    let start = name.rfind(']').map_or(0, |bracket| bracket + 1);
    let (tagged, digest) = match name.get(start..).and_then(|name| name.find('@')) {
        Some(at) => (name.get(..start + at).unwrap_or(name), name.get(start + at + 1..)),
        None => (name, None),
    };
    // A colon before the last slash belongs to a host's port.
    let repository = match tagged.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => tagged,
    };
    (repository, digest)
}

/// What skopeo's complaint means. There is no machine-readable form; the texts are those of distribution's error codes and of Go's network library.
const MEANINGS: &[(&[&str], ErrorKind, &str)] = &[
    (
        &["does not match expected", "does not match provided manifest digest", "did not match"],
        ErrorKind::Integrity,
        "what the registry sent is damaged: try again, and ask whoever runs it if that does not help",
    ),
    (
        &["server gave HTTP response to HTTPS client"],
        ErrorKind::Interrupted,
        "the registry speaks plain HTTP: allow it with `insecure = true` in /etc/containers/registries.conf.d/",
    ),
    (
        &["x509:", "certificate"],
        ErrorKind::Interrupted,
        "the registry's certificate is not trusted: put its authority's in /etc/containers/certs.d/ or the system's store",
    ),
    (
        &["unauthorized", "authentication required", "access to the resource is denied", "403 (Forbidden)"],
        ErrorKind::Permission,
        "log in with `skopeo login`, and check the name: registries also answer so for images that do not exist",
    ),
    (
        &[
            "manifest unknown",
            "name unknown",
            "not known to registry",
            "404 (Not Found)",
            "does not resolve to an image",
            "no such image",
        ],
        ErrorKind::NotFound,
        "check name and tag; `skopeo list-tags` lists a repository's tags",
    ),
    (
        &["invalid reference format", "nvalid image name", "unsupported digest"],
        ErrorKind::InvalidInput,
        "write docker://host/name:tag or docker://host/name@sha256:…, in lower case",
    ),
    (
        &[
            "connection refused",
            "connection reset",
            "no such host",
            "i/o timeout",
            "Client.Timeout",
            "TLS handshake",
            "network is unreachable",
            "no route to host",
            "unexpected EOF",
            "temporary failure",
            "Temporary failure",
            "server misbehaving",
            "toomanyrequests",
            "pinging container registry",
            "received unexpected HTTP status: 5",
        ],
        ErrorKind::Interrupted,
        "check the network and the registry's name, then run the command again",
    ),
];

pub(super) fn explain(image: &str, stderr: &str) -> Error {
    let said = last_message(stderr);
    let meaning = MEANINGS.iter().find(|(texts, ..)| texts.iter().any(|text| said.contains(text)));
    let (kind, hint) = meaning.map_or((ErrorKind::Io, None), |(_, kind, hint)| (*kind, Some(*hint)));
    let error = Error::new(kind, format!("{image} cannot be looked up: {said}"));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The last line, out of the logger's wrapping (`time=… level=fatal msg="…"`).
pub(super) fn last_message(stderr: &str) -> String {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("skopeo said nothing");
    let message = match line.split_once("msg=\"") {
        Some((_, message)) => message.trim_end().trim_end_matches('"').replace("\\\"", "\""),
        None => line.to_owned(),
    };
    // Our own words in front of it name the image already.
    match message.strip_prefix("Error parsing image name \"").and_then(|rest| rest.split_once("\": ")) {
        Some((_, reason)) => reason.to_owned(),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, repository) in
            [("h:5000/os", "h:5000/os"), ("h:5000/os:v1", "h:5000/os"), ("h/os", "h/os"), ("os:v1", "os")]
        {
            assert_eq!(split_name(name), (repository, None));
            assert_eq!(split_name(&format!("{name}@{digest}")), (repository, Some(digest.as_str())));
        }
    }

    #[test]
    fn the_place_of_a_local_store_is_no_digest() {
        assert_eq!(split_name("[vfs@/a+/b]localhost/os:1").1, None);
        let digest = format!("sha256:{}", "a".repeat(64));
        let name = format!("[vfs@/a+/b]localhost/os@{digest}");
        assert_eq!(split_name(&name), ("[vfs@/a+/b]localhost/os", Some(digest.as_str())));
    }

    /// Messages as skopeo 1.9 prints them.
    #[test]
    fn complaints_become_kinds_of_error() {
        for (said, kind) in [
            ("reading manifest x in h/os: manifest unknown: manifest unknown", ErrorKind::NotFound),
            (
                "reference \\\"[overlay@/x]localhost/os:1\\\" does not resolve to an image ID: identifier is not an image",
                ErrorKind::NotFound,
            ),
            (
                "pinging container registry h: Get \\\"https://h/v2/\\\": dial tcp 127.0.0.1:9: connect: connection refused",
                ErrorKind::Interrupted,
            ),
            (
                "pinging container registry h: Get \\\"https://h/v2/\\\": http: server gave HTTP response to HTTPS client",
                ErrorKind::Interrupted,
            ),
            ("reading manifest 1 in h/os: unauthorized: authentication required", ErrorKind::Permission),
            ("invalid reference format: repository name must be lowercase", ErrorKind::InvalidInput),
            ("something else", ErrorKind::Io),
        ] {
            let line = format!("time=\"2025-01-01T00:00:00Z\" level=fatal msg=\"{said}\"\n");
            let error = explain("docker://h/os:1", &line);
            assert_eq!(error.kind(), kind, "{said}");
            assert!(!error.to_string().contains("level=fatal"), "{error}");
        }
    }
}
