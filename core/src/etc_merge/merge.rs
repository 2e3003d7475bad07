//! The decision for each path; no I/O.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{EtcTree, MergeReport, Node};

/// Merges; the module's documentation has the rules.
///
/// # Behaviour
/// - The result is well-formed whatever the three trees are.
/// - Every local addition, change or deletion that the new default did not touch is in the result.
pub fn merge(base: &EtcTree, local: &EtcTree, new: &EtcTree) -> (EtcTree, MergeReport) {
    let mut merge = Merge {
        base,
        local,
        new,
        result: new_root(base, local, new),
        report: MergeReport::default(),
        frozen: None,
    };
    let root = Path::new("");
    merge.count(merge.versions(root));
    if merge.versions(root).conflict() {
        merge.report.conflicts.push(".".to_owned());
    }
    let paths: BTreeSet<&Path> =
        [base, local, new].iter().flat_map(|tree| tree.iter().map(|(p, _)| p)).collect();
    for path in paths.into_iter().filter(|path| !path.as_os_str().is_empty()) {
        merge.step(path);
    }
    (merge.result, merge.report)
}

/// `/etc` itself is a folder on all sides: only its metadata is at stake.
fn new_root(base: &EtcTree, local: &EtcTree, new: &EtcTree) -> EtcTree {
    let root = Path::new("");
    let versions = Versions { base: base.get(root), local: local.get(root), new: new.get(root) };
    let node = if versions.locally_changed() { versions.local } else { versions.new };
    EtcTree::new(node.map(|node| node.metadata.clone()).unwrap_or_default())
}

/// One path on the three sides.
#[derive(Clone, Copy)]
struct Versions<'a> {
    base: Option<&'a Node>,
    local: Option<&'a Node>,
    new: Option<&'a Node>,
}

impl Versions<'_> {
    fn locally_changed(self) -> bool {
        !same(self.local, self.base)
    }

    fn newly_changed(self) -> bool {
        !same(self.new, self.base)
    }

    fn conflict(self) -> bool {
        self.locally_changed() && self.newly_changed() && !same(self.local, self.new)
    }
}

fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same_as(b),
        _ => false,
    }
}

fn is_directory(node: Option<&Node>) -> bool {
    node.is_some_and(Node::is_directory)
}

struct Merge<'a> {
    base: &'a EtcTree,
    local: &'a EtcTree,
    new: &'a EtcTree,
    result: EtcTree,
    report: MergeReport,
    /// Below this path the local tree is in force as it is, and one conflict at the path itself has said so.
    frozen: Option<PathBuf>,
}

impl<'a> Merge<'a> {
    fn versions(&self, path: &Path) -> Versions<'a> {
        Versions { base: self.base.get(path), local: self.local.get(path), new: self.new.get(path) }
    }

    /// Decides one path. Paths come parents first, so that what is above it is settled.
    fn step(&mut self, path: &Path) {
        let versions = self.versions(path);
        if self.frozen.as_ref().is_some_and(|frozen| path.starts_with(frozen)) {
            self.take_local(path, versions);
        } else if versions.locally_changed() {
            self.step_changed(path, versions);
        } else if is_directory(versions.local) && !is_directory(versions.new) && self.changed_below(path) {
            self.take_local(path, versions);
            if versions.new.is_some() {
                self.conflict(path, true);
            }
        } else {
            self.take_new(path, versions);
        }
    }

    fn step_changed(&mut self, path: &Path, versions: Versions<'a>) {
        self.take_local(path, versions);
        if !versions.conflict() {
            return;
        }
        let both_exist = versions.local.is_some() && versions.new.is_some();
        let other_shape = is_directory(versions.local) != is_directory(versions.new);
        self.conflict(path, both_exist && other_shape);
    }

    fn take_local(&mut self, path: &Path, versions: Versions<'a>) {
        self.count(versions);
        if let Some(node) = versions.local {
            self.put(path, node);
        }
    }

    /// Takes the new default, unless local has no folder to put it in any more.
    fn take_new(&mut self, path: &Path, versions: Versions<'a>) {
        let Some(node) = versions.new else { return };
        let parent = path.parent().and_then(|parent| self.result.get(parent));
        if is_directory(parent) {
            self.put(path, node);
        } else {
            self.conflict(path, true);
        }
    }

    fn put(&mut self, path: &Path, node: &Node) {
        if let Err(error) = self.result.insert(path, node.clone()) {
            // Unreachable by the rules above; a lost file must at least be named.
            tracing::error!(%error, "merge of /etc lost a path");
            self.report.conflicts.push(path.to_string_lossy().into_owned());
        }
    }

    /// Whether local holds additions or changes below a folder that it did not change itself.
    fn changed_below(&self, path: &Path) -> bool {
        self.local.below(path).any(|(p, _)| self.versions(p).locally_changed())
    }

    fn conflict(&mut self, path: &Path, freeze: bool) {
        self.report.conflicts.push(path.to_string_lossy().into_owned());
        if freeze {
            self.frozen = Some(path.to_owned());
        }
    }

    fn count(&mut self, versions: Versions<'a>) {
        if !versions.locally_changed() || same(versions.local, versions.new) {
            return;
        }
        match versions.local {
            Some(_) => self.report.kept += 1,
            None => self.report.deleted += 1,
        }
    }
}
