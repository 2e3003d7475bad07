//! Reading the whole repository, and saying whom a damaged object hurts.

use std::collections::{BTreeMap, BTreeSet};

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
    let records = record::all(context)?;
    let objects = repo
        .list_objects(ostree::RepoListObjectsFlags::ALL.bits(), Cancellable::NONE)
        .or_kind(ErrorKind::Io, || "list the objects of the repository".to_owned())?;
    let present: BTreeSet<_> = objects.keys().map(Object::of).collect();
    let damaged: BTreeMap<_, _> = objects.keys().filter_map(|name| damage(&repo, name)).collect();
    let whole = present.iter().filter(|object| !damaged.contains_key(*object)).collect();
    let users: Vec<_> = records.iter().map(|record| User::of(&repo, &whole, record)).collect();
    let mut problems: Vec<_> = users.iter().filter_map(User::problem).collect();
    problems.extend(damaged.iter().map(|(object, problem)| hurt(object, &users, problem)));
    let needed: BTreeSet<_> = users.iter().flat_map(|user| &user.objects).collect();
    let missing = needed.into_iter().filter(|object| !present.contains(*object));
    problems.extend(missing.map(|object| hurt(object, &users, "is missing")));
    problems.extend(damaged_images(context, &records)?);
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(VerifyReport { checked: present.len() as u64, problems })
}

/// What is wrong with an object, if something is.
fn damage(repo: &ostree::Repo, name: &ostree::ObjectName) -> Option<(Object, String)> {
    let checked = repo.fsck_object(name.object_type(), name.checksum(), Cancellable::NONE);
    Some((Object::of(name), format!("is damaged: {}", checked.err()?.message())))
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
        Self::named(name.object_type(), name.checksum())
    }

    fn named(kind: ostree::ObjectType, checksum: &str) -> Self {
        let (first, rest) = checksum.split_at_checked(2).unwrap_or((checksum, ""));
        let suffix = match kind {
            ostree::ObjectType::File => "file",
            ostree::ObjectType::DirTree => "dirtree",
            ostree::ObjectType::DirMeta => "dirmeta",
            ostree::ObjectType::Commit => "commit",
            _ => "object",
        };
        Self(format!("ostree/repo/objects/{first}/{rest}.{suffix}"))
    }
}

/// What a deployment needs from the repository. What only a damaged or missing object names is not known.
struct User {
    id: DeploymentId,
    objects: BTreeSet<Object>,
    unreadable: Option<String>,
}

impl User {
    fn of(repo: &ostree::Repo, whole: &BTreeSet<&Object>, record: &Record) -> Self {
        let mut user = Self { id: record.id().clone(), objects: BTreeSet::new(), unreadable: None };
        let commits = BTreeSet::from([record.commit.as_str(), record.id().as_str()]);
        let mut open: Vec<_> =
            commits.into_iter().map(|commit| (ostree::ObjectType::Commit, commit.to_owned())).collect();
        while let Some((kind, checksum)) = open.pop() {
            let object = Object::named(kind, &checksum);
            // A damaged one would lead to objects that never were.
            let follow = whole.contains(&object);
            if user.objects.insert(object) && follow {
                match named_in(repo, kind, &checksum) {
                    Ok(more) => open.extend(more),
                    Err(error) => user.unreadable = Some(error.to_string()),
                }
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

/// The objects that an object names (libostree, ostree-core.h: `OSTREE_COMMIT_GVARIANT_STRING`, `OSTREE_TREE_GVARIANT_STRING`).
fn named_in(
    repo: &ostree::Repo,
    kind: ostree::ObjectType,
    checksum: &str,
) -> Result<Vec<(ostree::ObjectType, String)>> {
    use ostree::ObjectType::{Commit, DirMeta, DirTree, File};
    if !matches!(kind, Commit | DirTree) {
        return Ok(Vec::new());
    }
    let content = repo
        .load_variant(kind, checksum)
        .or_kind(ErrorKind::Io, || format!("read the object {checksum} of the repository"))?;
    if kind == Commit {
        let sum = |index| content.child_value(index).get::<Vec<u8>>().map(hex::encode).unwrap_or_default();
        return Ok(vec![(DirTree, sum(6)), (DirMeta, sum(7))]);
    }
    let (files, folders) = content.get::<(Sums, Folders)>().unwrap_or_default();
    let files = files.into_iter().map(|(_, sum)| (File, hex::encode(sum)));
    let below = |(_, tree, meta)| [(DirTree, hex::encode(tree)), (DirMeta, hex::encode(meta))];
    Ok(files.chain(folders.into_iter().flat_map(below)).collect())
}

/// Files by name, each with its checksum.
type Sums = Vec<(String, Vec<u8>)>;
/// Folders by name, each with the checksums of what is in it, and of its owner and mode.
type Folders = Vec<(String, Vec<u8>, Vec<u8>)>;

fn hurt(object: &Object, users: &[User], problem: &str) -> VerifyProblem {
    let needs = |user: &&User| user.objects.contains(object);
    VerifyProblem {
        path: object.0.clone(),
        problem: problem.to_owned(),
        deployments: users.iter().filter(needs).map(|user| user.id.clone()).collect(),
    }
}
