//! What a layer consists of, once its files' content is in the repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::path::TreePath;

/// Owner, mode and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Permission bits, set-id bits and the sticky bit; no file type.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// By name; values in hex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) xattrs: BTreeMap<String, String>,
}

impl Meta {
    /// Of a folder of which no layer says anything.
    pub(super) fn default_folder() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }
}

/// A content object, by its checksum in hex: a regular file or a symbolic link, with owner, mode and attributes.
pub(super) type ObjectId = String;

/// One change that a layer makes, in the layer's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) path: TreePath,
    #[serde(flatten)]
    pub(super) change: Change,
}

/// What happens to the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    /// A folder, which keeps what is in it.
    Folder(Meta),
    /// A regular file or a symbolic link.
    File(ObjectId),
    /// Another name of a file, perhaps of a lower layer.
    Link(TreePath),
    /// A device, socket or FIFO, which cannot be kept: what had the name goes.
    LeftOut,
    /// Goes, from lower layers.
    Remove,
    /// Is emptied of what lower layers have in it.
    Empty,
}
