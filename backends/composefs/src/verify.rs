//! Reading the whole repository, and saying whom a damaged object hurts.

mod content;

use std::{collections::BTreeSet, sync::Arc};

use bootwright_core::{
    context::{BackendContext, Sealing},
    error::Result,
    model::{DeploymentId, Progress, ProgressEvent, VerifyProblem, VerifyReport},
    registry::Verity,
};
use composefs::{
    fsverity::FsVerityHashValue,
    repository::{FsckError, Repository},
};

use crate::{
    deploy::{
        refs,
        state::{self, Found},
    },
    errors::LibraryContext,
    repo::{METADATA, REPOSITORY},
    retain::streams_of,
};

/// Reads every object and compares it with its digest; see `StorageBackend::verify`.
pub(crate) async fn verify<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    let id = || "objects".to_owned();
    progress.report(ProgressEvent::Started {
        id: id(),
        what: "reading every object".to_owned(),
        total: None,
    });
    let result = repo.fsck().await.context(|| "read the repository".to_owned())?;
    let unreadable = if repo.is_insecure() { Vec::new() } else { content::unreadable(context).await? };
    progress.report(ProgressEvent::Finished { id: id(), skipped: false });
    let found = state::all(context)?;
    let mut problems = unverifiable(context, repo, &found);
    problems.extend(without_image(context, &found));
    if !result.errors().is_empty() || !unreadable.is_empty() {
        let users: Vec<_> = found.iter().map(|found| User::of(repo, found)).collect();
        let all: Vec<_> = result.errors().iter().chain(&unreadable).map(explain).collect();
        let causes = all.iter().filter(|what| !is_consequence(repo, what, &all));
        problems.extend(causes.map(|what| problem(what, &users)));
    }
    Ok(VerifyReport { checked: result.objects_checked(), problems })
}

/// A repository whose description lost its seal would be opened without any check.
fn unverifiable<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Repository<H>,
    found: &[Found],
) -> Vec<VerifyProblem> {
    if !repo.is_insecure() || context.verity == Verity::Optional || context.sealing != Sealing::Now {
        return Vec::new();
    }
    let deployments = found.iter().map(|found| found.id().clone()).collect();
    vec![VerifyProblem { path: METADATA.to_owned(), problem: "has no fs-verity".to_owned(), deployments }]
}

fn without_image(context: &BackendContext, found: &[Found]) -> Vec<VerifyProblem> {
    let path = |found: &Found| format!("{REPOSITORY}/images/{}", found.root);
    let missing = found.iter().filter(|found| !context.sysroot.exists(&path(found)));
    let describe = |found: &Found| VerifyProblem {
        path: path(found),
        problem: "the image of this root is missing".to_owned(),
        deployments: vec![found.id().clone()],
    };
    missing.map(describe).collect()
}

/// What a deployment needs from the repository, as far as it can still be read.
struct User {
    id: DeploymentId,
    objects: BTreeSet<String>,
    streams: BTreeSet<String>,
    root: String,
}

impl User {
    fn of<H: FsVerityHashValue>(repo: &Repository<H>, found: &Found) -> Self {
        let objects = repo.objects_for_image(&found.root).unwrap_or_default();
        let mut objects: BTreeSet<_> = objects.iter().map(FsVerityHashValue::to_hex).collect();
        objects.insert(found.root.clone());
        let manifest = &found.origin.deployment.image.manifest_digest;
        let image = refs::open(repo, manifest, Some(found.id())).ok();
        let streams = image.as_ref().and_then(|image| streams_of(image).ok()).unwrap_or_default();
        // Layers, configuration and manifest are objects as well.
        objects.extend(
            streams.iter().filter_map(|name| repo.has_stream(name).ok().flatten()).map(|id| id.to_hex()),
        );
        Self {
            id: found.id().clone(),
            objects,
            streams: streams.into_iter().collect(),
            root: found.root.clone(),
        }
    }

    fn needs(&self, what: &What) -> bool {
        what.object.as_ref().is_some_and(|object| self.objects.contains(object))
            || what.path.strip_prefix("streams/").is_some_and(|name| self.streams.contains(name))
            || what.path.strip_prefix("images/") == Some(self.root.as_str())
    }
}

/// What an error of the library is about.
struct What {
    path: String,
    object: Option<String>,
    problem: String,
}

/// Whether something is wrong with a stream or an image only because the object that holds it is damaged, which is told by itself.
fn is_consequence<H: FsVerityHashValue>(repo: &Repository<H>, what: &What, all: &[What]) -> bool {
    let holder = match what.path.split_once('/') {
        Some(("streams", name)) => repo.has_stream(name).ok().flatten().map(|id| id.to_hex()),
        Some(("images", root)) => Some(root.to_owned()),
        _ => None,
    };
    holder.is_some_and(|holder| {
        let is_damaged = |other: &What| object_at(&other.path).as_ref() == Some(&holder);
        all.iter().any(is_damaged)
    })
}

fn problem(what: &What, users: &[User]) -> VerifyProblem {
    let deployments = users.iter().filter(|user| user.needs(what)).map(|user| user.id.clone()).collect();
    VerifyProblem { path: format!("{REPOSITORY}/{}", what.path), problem: what.problem.clone(), deployments }
}

fn explain(error: &FsckError) -> What {
    let about =
        |path: &str, problem: String| What { path: path.to_owned(), object: object_at(path), problem };
    match error {
        FsckError::ObjectDigestMismatch { path, measured } => {
            about(path, format!("is damaged: its fs-verity digest is {measured}"))
        }
        FsckError::ObjectVerityMissing { path } => about(path, "has no fs-verity".to_owned()),
        FsckError::ObjectOpenFailed { path, detail } | FsckError::ObjectVerityFailed { path, detail } => {
            about(path, format!("cannot be read: {detail}"))
        }
        FsckError::MissingObjectRef { path, object_id }
        | FsckError::ImageMissingObject { path, object_id }
        | FsckError::MissingNamedRef { path, object_id, .. } => What {
            path: path.clone(),
            object: Some(object_id.rsplit(':').next().unwrap_or_default().to_owned()),
            problem: format!("needs the object {object_id}, which is missing"),
        },
        FsckError::BrokenSymlink { path } => about(path, "leads nowhere".to_owned()),
        FsckError::ImageInvalid { path, detail }
        | FsckError::ImageReadFailed { path, detail }
        | FsckError::ImageOpenFailed { path, detail }
        | FsckError::StreamOpenFailed { path, detail }
        | FsckError::StreamReadFailed { path, detail }
        | FsckError::ObjectCheckFailed { path, detail, .. }
        | FsckError::StatFailed { path, detail }
        | FsckError::UnexpectedFileType { path, detail }
        | FsckError::ObjectInvalidName { path, detail } => about(path, detail.clone()),
        other => about("meta.json", other.to_string().trim_start_matches("fsck: ").to_owned()),
    }
}

/// The id of an object from its path, `objects/ab/cdef…`.
fn object_at(path: &str) -> Option<String> {
    path.strip_prefix("objects/")?.split_once('/').map(|(first, rest)| format!("{first}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_object_is_traced_to_the_deployments_that_need_it() {
        let user = |id: &str, object: &str| User {
            id: DeploymentId::new(id).unwrap(),
            objects: BTreeSet::from([object.to_owned()]),
            streams: BTreeSet::from([format!("oci-layer-{id}")]),
            root: format!("root-of-{id}"),
        };
        let users = [user("a", "abcdef"), user("b", "123456")];
        let hurt = |error: FsckError| {
            problem(&explain(&error), &users)
                .deployments
                .iter()
                .map(|id| id.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        let path = "objects/ab/cdef".to_owned();
        assert_eq!(hurt(FsckError::ObjectDigestMismatch { path, measured: String::new() }), ["a"]);
        assert_eq!(hurt(FsckError::BrokenSymlink { path: "images/root-of-b".to_owned() }), ["b"]);
        assert_eq!(hurt(FsckError::BrokenSymlink { path: "streams/oci-layer-a".to_owned() }), ["a"]);
        assert!(hurt(FsckError::ObjectVerityMissing { path: "objects/00/00".to_owned() }).is_empty());
    }
}
