//! Deployments: from a commit to a folder that can be booted, and back.

pub(crate) mod blob;
pub(crate) mod booted;
pub(crate) mod etc;
pub(crate) mod files;
pub(crate) mod finalize;
pub(crate) mod kernel;
pub(crate) mod origin;
pub(crate) mod pin;
pub(crate) mod prepare;
pub(crate) mod record;
pub(crate) mod var;
