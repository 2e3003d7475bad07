//! Deployments: from an image in the repository to a folder under `/state/deploy`, and back.

pub(crate) mod blob;
pub(crate) mod etc;
pub(crate) mod kernel;
pub(crate) mod prepare;
pub(crate) mod refs;
pub(crate) mod state;
pub(crate) mod var;
