//! Bootwright storage backend: `OSTree`.
//!
//! Images are commits in an `OSTree` repository. A deployment is a folder of hard links to its objects, with an `/etc` of its own, that early
//! boot finds by the link which the kernel argument `ostree=` names.
//!
//! ```text
//! /ostree/repo                                     objects, and refs bootwright/image/…, bootwright/layer/…, bootwright/deployment/…
//! /ostree/deploy/<stateroot>/deploy/<commit>.<n>   a finalised deployment
//! /ostree/deploy/<stateroot>/var                   the /var that all deployments of a stateroot share
//! /ostree/boot.<0|1>/<stateroot>/<kernel>/<n>      links to deployments: two sets, of which one is in force
//! /ostree/bootwright/deployments/<id>.json         one deployment: where it came from, how it boots
//! /ostree/bootwright/unpublished.json              the set of links that published boot entries use, while that is not the newest
//! /boot/loader.<0|1>/entries                       libostree's private catalogue of deployments, which nobody boots
//! ```
//!
//! libostree finds its deployments in boot entries of its own, and rewrites them and the links whenever the list changes. What boots is the
//! bootloader plugin's business; so that catalogue stays on the root file system. Every change writes the set of links that published
//! entries do not use, see the module `catalogue`.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests break files on purpose"))]

mod backend;
mod catalogue;
mod deploy;
mod errors;
mod fetch;
mod plugin;
mod repo;
mod retain;
mod verified;
mod verify;

pub use backend::OstreeBackend;

#[cfg(test)]
mod tests;
