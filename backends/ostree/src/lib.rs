//! Bootwright storage backend: `OSTree`.
//!
//! Images are kept as commits in a repository of mode `bare`, which libostree maintains; deployments are folders of hard links into it.
//!
//! ```text
//! /ostree/repo                         the repository
//!   bootwright/layer/<diff id>         one commit for each layer, see `fetch`
//!   bootwright/image/<manifest digest> one commit for each image: its merged tree
//! ```

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests break files on purpose"))]
#![allow(dead_code)]

mod errors;
mod fetch;
mod repo;

#[cfg(test)]
mod tests;
