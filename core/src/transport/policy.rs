//! Which images are let in: the host's containers-policy.json(5), asked before anything of an image is fetched.
//!
//! The file names requirements for scopes of transports; those of the most specific scope hold, and an image has to meet all of them. What can be
//! decided from the file alone is decided here. Signatures are checked by skopeo, bound to the digest that was looked up, so that a
//! registry cannot show one image to the check and another one to the download. A signature that cannot be checked is a refusal.
//!
//! | transport | `insecureAcceptAnything`, `reject` | `signedBy`, `sigstoreSigned` |
//! |---|---|---|
//! | `docker://` | here | skopeo, which fetches manifest and signatures, and no layer |
//! | `oci:`, `oci-archive:` | here | refused: such images carry no signatures |
//! | `containers-storage:` | here | refused: the digest that was looked up cannot be named there |

mod rules;
mod scope;
mod signed;
mod strict;

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, ErrorKind, IoContext, Result},
    model::ImageSummary,
    process::blocking,
};
use rules::{Requirement, Rules};

/// Where containers-policy.json(5) has the policy of a host.
pub const SYSTEM_POLICY: &str = "/etc/containers/policy.json";

/// More than any policy; a larger file is a mistake.
const LIMIT: u64 = 1 << 20;

/// How an image was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// The policy lets anything of that name in, or there is no policy.
    #[default]
    Unrestricted,
    /// It met a requirement that not every image meets.
    Verified,
}

/// The policy of a host.
#[derive(Debug, Clone)]
pub struct ImagePolicy {
    /// `None` for images that no policy is about (in memory, in tests).
    path: Option<PathBuf>,
    /// Environment of skopeo, for tests: a home with its own registries.conf.
    variables: Vec<(String, String)>,
}

impl Default for ImagePolicy {
    /// The policy of this host.
    fn default() -> Self {
        Self::at(SYSTEM_POLICY)
    }
}

impl ImagePolicy {
    /// The policy in this file. If there is no such file, every image is let in, as [`Admission::Unrestricted`].
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), variables: Vec::new() }
    }

    /// Lets every image in.
    pub fn none() -> Self {
        Self { path: None, variables: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn with_home(mut self, home: &Path) -> Self {
        self.variables.push(("HOME".to_owned(), home.display().to_string()));
        self
    }

    /// Decides about an image that was looked up. Reads no layer and changes nothing.
    ///
    /// # Behaviour
    /// - What was verified is the manifest with `image.manifest_digest`: whoever fetches another one has verified nothing.
    ///
    /// # Errors
    /// - `Permission`: the policy rejects images of that name.
    /// - `Integrity`: a signature is missing, is by another key, or is for another image.
    /// - `Unsupported`: the policy demands what cannot be checked for this transport, or skopeo is missing.
    /// - `InvalidInput`: the policy is malformed. `Interrupted`: the registry could not be reached.
    pub async fn admit(&self, image: &ImageSummary) -> Result<Admission> {
        let (policy, image) = (self.clone(), image.clone());
        blocking(move || policy.admit_blocking(&image)).await
    }

    /// [`ImagePolicy::admit`] for callers that may block.
    pub fn admit_blocking(&self, image: &ImageSummary) -> Result<Admission> {
        let Some(path) = &self.path else { return Ok(Admission::Unrestricted) };
        let Some(rules) = load(path)? else { return Ok(Admission::Unrestricted) };
        let decided = self.decide(&rules, image);
        decided.map_err(|error| {
            error.with_context("image", &image.reference).with_context("policy", path.display())
        })
    }

    fn decide(&self, rules: &Rules, image: &ImageSummary) -> Result<Admission> {
        let mut admission = Admission::Unrestricted;
        for list in scope::lists_for(rules, &image.reference)? {
            if list.contains(&Requirement::Reject) {
                return Err(Error::new(ErrorKind::Permission, "the signature policy of this host rejects the image")
                    .with_hint("see containers-policy.json(5): use an image that the policy accepts, or have the policy changed"));
            }
            let signed: Vec<_> = list.iter().filter_map(Requirement::signed).collect();
            if !signed.is_empty() {
                signed::verify(&signed, image, &self.variables)?;
                admission = Admission::Verified;
            }
        }
        Ok(admission)
    }
}

fn load(path: &Path) -> Result<Option<Rules>> {
    use std::io::Read as _;
    let what = || format!("read {}", path.display());
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.context_io(what)?,
    };
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).context_io(what)?;
    Rules::parse(&bytes).map(Some).map_err(|error| {
        let error = error.with_context("policy", path.display());
        error.with_hint("correct it as containers-policy.json(5) describes; until then no image is let in")
    })
}
