//! Traits, model, engine and crash-safe file primitives of Bootwright.
//!
//! Three parties share the work, and none asks who the others are:
//!
//! | question | who answers it |
//! |---|---|
//! | which trees exist, their bytes, the `/etc` merge, the root arguments | [`StorageBackend`] |
//! | what boots, in which order, tries left, one-shot boots, loader binaries | [`Bootloader`] |
//! | operation to ordered steps, recovery, what may be deleted, kernel arguments, locking | this crate |

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests break files on purpose"))]

pub mod backend;
pub mod blobs;
pub mod bls;
pub mod boot_files;
pub mod bootloader;
pub mod capability;
pub mod context;
pub mod efi;
pub mod engine;
pub mod error;
pub mod etc_merge;
pub mod fake;
pub mod fs;
pub mod fs_verity;
pub mod image_config;
pub mod image_kernel;
pub mod layers;
pub mod model;
pub mod patience;
pub mod process;
pub mod registry;
pub mod transport;
pub mod tree;
pub mod uki;
pub mod wrap;

pub use backend::StorageBackend;
pub use bootloader::Bootloader;
pub use error::{Effect, Error, ErrorKind, IoContext, Result};

/// Re-exported so that plugins register with the very version that core collects with.
pub use inventory;
