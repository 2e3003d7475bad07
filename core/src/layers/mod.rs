//! Layers of an image as tar files: laid over each other they are one tree.
//!
//! For a backend that keeps layers as they are, or makes a file system image of them: nothing is unpacked to paths, so that no name in a
//! layer can lead anywhere. A [`LayerTree`] knows each entry's metadata, and where in which layer the content of each file lies.
//!
//! The rules are those of the OCI image specification, "Applying Changesets": whiteouts (`.wh.name`), opaque folders
//! (`.wh..wh..opq`), and a later entry in the place of an earlier one. Where an ancestor in a path is a symbolic link, it is followed inside the
//! tree, as programs that unpack layers into a root do: distributions with `/lib -> usr/lib` have layers that say `lib/…`.
//!
//! | from the tree | by |
//! |---|---|
//! | files by path, links followed inside | [`LayerTree::get`], and [`TreeReader`](crate::tree::TreeReader) |
//! | `/etc`, or any folder, for a merge | [`LayerTree::subtree`] |
//! | one tar stream without whiteouts | [`LayerTree::write_tar`] |
//!
//! [`LayerStore`] keeps the layers, for backends that have no better place for them.

mod apply;
mod entry;
mod headers;
mod pax;
mod store;
mod tree;
mod write;

#[cfg(test)]
mod tests;

/// Begins every name that is not a file, but an order to the one who unpacks it (OCI image specification, "Whiteouts").
pub const WHITEOUT: &str = ".wh.";
/// Empties the folder that it is in, of what lower layers put there ("Opaque Whiteout").
pub const OPAQUE: &str = ".wh..wh..opq";

pub use self::{
    entry::{Entry, Kind, Span},
    headers::headers_wanted,
    store::{LayerProblem, LayerStore, StoredImage, digest_problem},
    tree::LayerTree,
};
