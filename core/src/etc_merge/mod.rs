//! The three-way merge of `/etc`: old default, local state, new default.
//!
//! A deployment starts with the `/etc` of its image. What a person changed since then must survive an upgrade, and what
//! the image changed must arrive. Three trees go in: the old default (`base`), what is there now (`local`) and the new
//! default (`new`). Nobody needs all three as folders: a backend describes its trees in memory ([`EtcTree::insert`])
//! and a real folder is read by [`scan()`]. [`merge()`] is pure; [`materialise()`] writes the result, [`put_in_place()`] in the place of
//! what was there.
//!
//! | local against base | new against base | result | reported |
//! |---|---|---|---|
//! | same | anything | new default | |
//! | changed, added or deleted | same | local | |
//! | changed | changed in the same way | both agree | |
//! | changed, added or deleted | changed in another way | local | conflict |
//!
//! "Changed" looks at everything that a person can set: kind, content, link target, mode, owner, extended attributes.
//! Times do not count, and neither does the `SELinux` label, which belongs to the policy. A file is one thing: a local `chmod` and
//! a new default content do conflict. A folder's own metadata is merged apart from what is in it.
//!
//! Where the two sides disagree about what is a folder:
//! - The new default deletes a folder that holds local changes: the folder stays, for them alone. No conflict: what the
//!   default had in it is gone, as was asked.
//! - The new default turns a folder that holds local changes into something else: the folder stays *with everything that
//!   local has in it*, old defaults included, because half of it would be a configuration that nobody ever had. One conflict, at the folder.
//! - Local turned a folder into something else, or deleted it, and the new default adds or changes things in it: they are left out, and each is a
//!   conflict (once, at its top, for a whole new folder).
//! - Local has something else where the new default has a new folder: one conflict, at that path.
//!
//! libostree agrees in the table above, but stops the upgrade where a changed file has become a folder (`merge_configuration_from` in its
//! `ostree-sysroot-deploy.c`), and reports no conflicts. An upgrade that cannot be finished at shutdown helps nobody, so here every case has a result.

mod materialise;
mod merge;
mod scan;
mod switch;
mod tree;
mod xattr;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    materialise::{Materialised, materialise},
    merge::merge,
    scan::scan,
    switch::put_in_place,
    tree::{Content, EtcTree, FileContent, Metadata, Node, NodeKind, Special, Xattrs},
};

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergeReport {
    /// Local additions and changes that were carried over.
    pub kept: u64,
    /// Local deletions that were repeated.
    pub deleted: u64,
    /// Paths, relative to `/etc`, that both sides changed in different ways; the local one is in force.
    /// `.` is `/etc` itself; bytes that are not UTF-8 are shown as U+FFFD.
    pub conflicts: Vec<String>,
}
