//! Bootwright storage backend: composefs.
//!
//! Images are kept as content-addressed objects plus one EROFS image of metadata each, in a repository that the published
//! `composefs` crates maintain. Early boot mounts the EROFS image that the kernel command line names by its fs-verity digest, so that
//! every byte of the running system is checked when it is read.
//!
//! ```text
//! /composefs                                   the repository: objects, images, streams, meta.json
//! /state/deploy/<root digest>/etc              the /etc of every deployment with this root
//! /state/deploy/<root digest>/var              symbolic link to the shared /var
//! /state/deploy/<root digest>/<id>.origin      one deployment: where it came from, how it boots
//! /state/os/<stateroot>/var                    the /var that all deployments of a stateroot share
//! ```
//!
//! Folders under `/state/deploy` are named by the root digest because it is all that early boot knows. It is not enough to name a
//! deployment: `/boot` is emptied before the digest is computed, so two images that differ in their UKI share a root. Hence a deployment
//! with a UKI has the first digits of the UKI's own digest in its id, and shares its `/etc` with the others of that root.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests break files on purpose"))]

mod backend;
mod deploy;
mod errors;
mod fetch;
#[cfg(test)]
mod loop_disk;
mod merge;
mod origin;
mod plugin;
mod repo;
mod retain;
mod roots;
pub mod seal;
mod tree;
mod verify;

pub use backend::ComposefsBackend;

#[cfg(test)]
mod tests;
