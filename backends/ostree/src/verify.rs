//! Reading the whole repository, and saying whom a damaged object hurts.

use std::collections::BTreeSet;

use bootwright_core::{
    context::BackendContext,
    error::{ErrorKind, IoContext as _, Result},
    model::{DeploymentId, VerifyProblem, VerifyReport},
};
use ostree_ext::{gio::Cancellable, ostree};

use crate::{
    catalogue::Catalogue,
    deploy::record::{self, Record},
    errors::LibraryContext as _,
    repo::Store,
    verified::IMAGE,
};

/// Reads every object and compares it with its checksum; see `StorageBackend::verify`.
pub(crate) fn verify(context: &BackendContext) -> Result<VerifyReport> {
    let repo = Store::new(context.sysroot.clone()).open()?;
    let mut problems = Vec::new();
    let records = record::all(context)?;
    let users: Vec<_> = records.iter().map(|record| User::of(&repo, record)).collect();
    problems.extend(users.iter().filter_map(User::problem));
    let objects = repo
        .list_objects(ostree::RepoListObjectsFlags::ALL.bits(), Cancellable::NONE)
        .or_kind(ErrorKind::Io, || "list the objects of the repository".to_owned())?;
    let present: BTreeSet<_> = objects.keys().map(Object::of).collect();
    for name in objects.keys() {
        let checked = repo.fsck_object(name.object_type(), name.checksum(), Cancellable::NONE);
        if let Err(error) = checked {
            problems.push(hurt(&Object::of(name), &users, &format!("is damaged: {}", error.message())));
        }
    }
    let needed: BTreeSet<_> = users.iter().flat_map(|user| &user.objects).collect();
    let missing = needed.into_iter().filter(|object| !present.contains(*object));
    problems.extend(missing.map(|object| hurt(object, &users, "is missing")));
    problems.extend(damaged_images(context, &records)?);
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(VerifyReport { checked: present.len() as u64, problems })
}

/// Reads the images that early boot mounts: the kernel refuses to read what was changed.
fn damaged_images(context: &BackendContext, records: &[Record]) -> Result<Vec<VerifyProblem>> {
    let verified: Vec<_> = records.iter().filter(|record| record.deployment.verified).collect();
    if verified.is_empty() {
        return Ok(Vec::new());
    }
    let catalogue = Catalogue::open(context)?;
    let problem = |record: &Record| {
        let path = format!("{}/{IMAGE}", catalogue.entry_of(&record.commit)?.folder);
        let problem = match read_through(context, &path) {
            Ok(true) => return None,
            Ok(false) => "is missing".to_owned(),
            Err(error) => format!("is damaged: {error}"),
        };
        Some(VerifyProblem { path, problem, deployments: vec![record.id().clone()] })
    };
    Ok(verified.into_iter().filter_map(problem).collect())
}

/// Whether there is such a file; all of it was read then.
fn read_through(context: &BackendContext, path: &str) -> Result<bool> {
    let Some(mut file) = context.sysroot.open_file(path)? else { return Ok(false) };
    std::io::copy(&mut file, &mut std::io::sink())
        .context_io(|| format!("read {}", context.sysroot.show(path)))?;
    Ok(true)
}

/// An object, by the path of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object(String);

impl Object {
    fn of(name: &ostree::ObjectName) -> Self {
        let (first, rest) = name.checksum().split_at_checked(2).unwrap_or((name.checksum(), ""));
        let suffix = match name.object_type() {
            ostree::ObjectType::File => "file",
            ostree::ObjectType::DirTree => "dirtree",
            ostree::ObjectType::DirMeta => "dirmeta",
            ostree::ObjectType::Commit => "commit",
            _ => "object",
        };
        Self(format!("ostree/repo/objects/{first}/{rest}.{suffix}"))
    }
}

/// What a deployment needs from the repository, as far as it can still be read.
struct User {
    id: DeploymentId,
    objects: BTreeSet<Object>,
    unreadable: Option<String>,
}

impl User {
    fn of(repo: &ostree::Repo, record: &Record) -> Self {
        let mut user = Self { id: record.id().clone(), objects: BTreeSet::new(), unreadable: None };
        for commit in BTreeSet::from([record.commit.as_str(), record.id().as_str()]) {
            match repo.traverse_commit(commit, 0, Cancellable::NONE) {
                Ok(objects) => user.objects.extend(objects.iter().map(Object::of)),
                Err(error) => user.unreadable = Some(error.message().to_owned()),
            }
        }
        user
    }

    fn problem(&self) -> Option<VerifyProblem> {
        self.unreadable.as_ref().map(|message| VerifyProblem {
            path: format!("ostree/repo/refs/heads/bootwright/deployment/{}", self.id),
            problem: format!("its tree cannot be read: {message}"),
            deployments: vec![self.id.clone()],
        })
    }
}

fn hurt(object: &Object, users: &[User], problem: &str) -> VerifyProblem {
    let needs = |user: &&User| user.objects.contains(object);
    VerifyProblem {
        path: object.0.clone(),
        problem: problem.to_owned(),
        deployments: users.iter().filter(needs).map(|user| user.id.clone()).collect(),
    }
}
