//! Comparing boot files with their digests, as the disk holds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use rustix::fs::Advice;

use crate::{
    error::{IoContext, Result},
    fs::{Root, hash_into},
    model::{DeploymentId, Digest, VerifyProblem, VerifyReport},
};

/// Collects which files boot entries need and what is wrong with them; each file is read once and named once.
#[derive(Debug)]
pub struct FileCheck<'a> {
    root: &'a Root,
    place: &'a str,
    read: BTreeMap<String, Result<Option<Digest>, String>>,
    wrong: BTreeMap<String, (String, BTreeSet<DeploymentId>)>,
}

impl<'a> FileCheck<'a> {
    /// A check of files on one partition, which people know as `place`.
    pub fn new(root: &'a Root, place: &'a str) -> Self {
        Self { root, place, read: BTreeMap::new(), wrong: BTreeMap::new() }
    }

    /// Demands a file with this content.
    pub fn need(&mut self, path: &str, wanted: &Digest, deployment: &DeploymentId) {
        let problem = match self.digest(path) {
            Ok(Some(found)) if &found == wanted => return,
            Ok(Some(_)) => "is damaged: it does not have its digest any more".to_owned(),
            Ok(None) => "is missing".to_owned(),
            Err(error) => error,
        };
        self.wrong(path, &problem, Some(deployment));
    }

    /// Notes that something is wrong with a file. The first thing that is wrong with it counts.
    pub fn wrong(&mut self, path: &str, problem: &str, deployment: Option<&DeploymentId>) {
        let text = || (format!("on {}, {problem}", self.place), BTreeSet::new());
        let (_, needed_by) = self.wrong.entry(path.to_owned()).or_insert_with(text);
        needed_by.extend(deployment.cloned());
    }

    /// The digest of a file, or `None` if there is none.
    ///
    /// # Errors
    /// A text for people if it cannot be read.
    pub fn digest(&mut self, path: &str) -> Result<Option<Digest>, String> {
        let read = self.read.entry(path.to_owned());
        read.or_insert_with(|| {
            digest_on_disk(self.root, path).map_err(|error| format!("cannot be read: {error}"))
        })
        .clone()
    }

    /// The content of a small file, or `None` if there is none or it cannot be read; it counts as read.
    pub fn content(&mut self, path: &str) -> Option<Vec<u8>> {
        let content = content_on_disk(self.root, path).ok().flatten();
        self.read.insert(path.to_owned(), Ok(None));
        content
    }

    /// What was found.
    pub fn report(self) -> VerifyReport {
        let problem = |(path, (problem, deployments)): (String, (String, BTreeSet<_>))| VerifyProblem {
            path,
            problem,
            deployments: deployments.into_iter().collect(),
        };
        VerifyReport {
            checked: self.read.len() as u64,
            problems: self.wrong.into_iter().map(problem).collect(),
        }
    }
}

/// More than any entry file or note.
const SMALL: u64 = 1 << 20;

fn open_on_disk(root: &Root, path: &str) -> Result<Option<std::fs::File>> {
    let Some(file) = root.open_file(path)? else { return Ok(None) };
    // What is in the page cache may be better than what the next boot will read.
    let dropped = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    dropped.map_err(std::io::Error::from).context_io(|| format!("read {}", root.show(path)))?;
    Ok(Some(file))
}

fn digest_on_disk(root: &Root, path: &str) -> Result<Option<Digest>> {
    let Some(mut file) = open_on_disk(root, path)? else { return Ok(None) };
    let (digest, _) =
        hash_into(&mut file, &mut std::io::sink()).context_io(|| format!("read {}", root.show(path)))?;
    Ok(Some(digest))
}

fn content_on_disk(root: &Root, path: &str) -> Result<Option<Vec<u8>>> {
    let Some(file) = open_on_disk(root, path)? else { return Ok(None) };
    let mut content = Vec::new();
    file.take(SMALL).read_to_end(&mut content).context_io(|| format!("read {}", root.show(path)))?;
    Ok(Some(content))
}
