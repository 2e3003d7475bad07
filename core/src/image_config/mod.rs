//! What an image says about itself: kernel arguments, install defaults, its name.
//!
//! The image contract is bootc's, so that one image serves both tools:
//!
//! | file in the image | read by |
//! |---|---|
//! | `/usr/lib/bootc/kargs.d/*.toml` | [`kargs::load`] |
//! | `/usr/lib/bootc/install/*.toml` | [`InstallDefaults::load`] (bootc-install-config(5)) |
//! | `/etc/os-release`, `/usr/lib/os-release` | [`OsRelease::load`] (os-release(5)) |
//!
//! Parsers take text and give types; loaders find the files in a [`TreeReader`]. A malformed file is `InvalidInput`
//! and names file and line: half an image's configuration is not what its author tested. A key that nobody here knows is only warned about, because the
//! format grows.

mod drop_in;
mod install;
pub mod kargs;
mod os_release;

#[cfg(test)]
mod tests;

pub use self::{
    install::{BlockSetup, InstallDefaults, InstallFile},
    os_release::OsRelease,
};

#[cfg(doc)]
use crate::tree::TreeReader;
