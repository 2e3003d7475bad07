//! The two versions that the demo installs: our own Debian, or an image of somebody's own.

use anyhow::Result;
use bootwright_conformance::{
    images::OciImage,
    system::{KernelFormat, Systems},
};

/// Two versions of one operating system.
#[derive(Debug)]
pub struct Images {
    /// Installed.
    pub one: OciImage,
    /// Upgraded to.
    pub two: OciImage,
}

impl Images {
    /// Makes them, or takes them from the cache.
    pub fn make(systems: &Systems, format: KernelFormat, own: Option<&str>) -> Result<Self> {
        let make = |version: &str| match own {
            None => systems.image(version, format),
            Some(reference) => systems.adapted(reference, version, format),
        };
        Ok(Self { one: make("v1")?, two: make("v2")? })
    }
}
