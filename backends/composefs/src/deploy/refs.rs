//! Names in the repository that keep images from being collected: one for each deployment, one for each fetched image that is
//! not deployed yet.

use bootwright_core::{
    error::{Error, ErrorKind, Result},
    model::{DeploymentId, Digest},
};
use composefs::{fsverity::FsVerityHashValue, repository::Repository};
use composefs_oci::{OciDigest, OciImage};

use crate::errors::LibraryContext;

const DEPLOYMENT: &str = "bootwright/deployment/";
const FETCHED: &str = "bootwright/fetched/";
/// bootc's (its `composefs_consts.rs`): a deployment that it made has no name of ours.
const BOOTC: &str = "localhost/bootc-";

/// The name that keeps a deployment's image.
pub(crate) fn deployment(id: &DeploymentId) -> String {
    format!("{DEPLOYMENT}{id}")
}

/// The name that keeps a fetched image until the next clean-up.
pub(crate) fn fetched(manifest: &Digest) -> String {
    format!("{FETCHED}{}", manifest.hex())
}

/// Whose a name is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// A deployment of ours with this id.
    Deployment(&'a str),
    /// An image that was fetched and not deployed.
    Fetched,
    /// Somebody else's.
    Foreign,
}

/// Whose `name` is.
pub(crate) fn owner(name: &str) -> Owner<'_> {
    match name.strip_prefix(DEPLOYMENT) {
        Some(id) => Owner::Deployment(id),
        None if name.starts_with(FETCHED) => Owner::Fetched,
        None => Owner::Foreign,
    }
}

/// Every name with the digest of the manifest as it is stored.
pub(crate) fn list<H: FsVerityHashValue>(repo: &Repository<H>) -> Result<Vec<(String, OciDigest)>> {
    composefs_oci::list_refs(repo).context(|| "list the images in the repository".to_owned())
}

/// Opens an image by the first of these names that exists.
pub(crate) fn open<H: FsVerityHashValue>(
    repo: &Repository<H>,
    manifest: &Digest,
    deployment_id: Option<&DeploymentId>,
) -> Result<OciImage<H>> {
    let mut names = vec![fetched(manifest), format!("{BOOTC}{manifest}")];
    if let Some(id) = deployment_id {
        names.insert(0, deployment(id));
    }
    let known = list(repo)?;
    let by_name = names.iter().find_map(|name| known.iter().find(|(known, _)| known == name));
    let found = by_name.or_else(|| known.iter().find(|(_, digest)| digest.as_ref() == manifest.as_str()));
    let Some((name, _)) = found else {
        return Err(Error::not_found(format!("the image {manifest} is not in the repository"))
            .with_hint("fetch it again"));
    };
    OciImage::open_ref(repo, name).or_kind(ErrorKind::Integrity, || format!("open the image {manifest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_they_are() {
        let id = DeploymentId::new("ab").unwrap();
        assert_eq!(owner(&deployment(&id)), Owner::Deployment("ab"));
        assert_eq!(owner(&fetched(&Digest::from_sha256([0; 32]))), Owner::Fetched);
        assert_eq!(owner("localhost/bootc-sha256:00"), Owner::Foreign);
    }
}
