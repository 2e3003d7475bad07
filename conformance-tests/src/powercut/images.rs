//! The images of a recorded life. Each version has files and a kernel of its own, so that a lost or torn write of one shows.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::random::Random;
use crate::{
    images::{Edits, OciImage, derive},
    lifecycle::Site,
    system::{KernelFormat, Systems},
};

/// Files that only one version has: enough for several transactions of the root file system.
const FILES: u64 = 24;

/// The versions of a life.
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

/// All versions, in `folder` for machines, and the first one, which is installed.
///
/// # Errors
/// When a tool is missing or does not succeed, or an image cannot be put there.
pub fn make_all(systems: &Systems, format: KernelFormat, folder: &Path) -> Result<(OciImage, Site)> {
    let made: Vec<_> =
        VERSIONS.iter().map(|version| make(systems, version, format)).collect::<Result<_>>()?;
    let site = Site::make(&folder.join("site"), &VERSIONS.into_iter().zip(&made).collect::<Vec<_>>())?;
    let first = made.into_iter().next().context("no images")?;
    Ok((first, site))
}

/// Version `version` ("v1", …).
///
/// # Errors
/// When a tool is missing or does not succeed.
fn make(systems: &Systems, version: &str, format: KernelFormat) -> Result<OciImage> {
    let base = systems.image("v1", KernelFormat::Split)?;
    let split = derive(&base, &edits(&base, version)?, systems.cache())?;
    match format {
        KernelFormat::Split => Ok(split),
        KernelFormat::Unified => systems.unified(&split, version, None, &[]),
    }
}

fn edits(base: &OciImage, version: &str) -> Result<Edits> {
    let text = format!("{version}\n");
    let mut edits = Edits::new(version).write("/usr/share/marker/version", text.clone(), 0o644).write(
        &format!("/etc/marker/added-in-{version}"),
        text,
        0o644,
    );
    let seed = version.bytes().fold(0, |seed, byte| seed * 256 + u64::from(byte));
    for number in 0..FILES {
        let mut random = Random::new(seed * 1000 + number);
        let words = 2000 + random.below(40_000);
        let bytes: Vec<u8> = (0..words).flat_map(|_| random.number().to_le_bytes()).collect();
        edits = edits.write(&format!("/usr/share/power-cut/{number}"), bytes, 0o644);
    }
    let kernel = format!("/usr/lib/modules/{}/vmlinuz", base.kernel_version()?);
    let mut bytes = base.read_file(&kernel)?.with_context(|| format!("no {kernel} in the image"))?;
    // Behind the image, where nothing reads it.
    bytes.extend_from_slice(format!("{version:4096}").as_bytes());
    Ok(edits.write(&kernel, bytes, 0o644))
}
