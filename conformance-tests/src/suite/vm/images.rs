//! From a case's description of an image to an OCI image that boots in a virtual machine.

use anyhow::{Context as _, Result};
use bootwright_core::model::KernelCmdline;

use super::health;
use crate::{
    images::{Edits, Entry, KARGS_FILE, OciImage, OciLayoutWriter, derive},
    suite::{Defect, Health, TestImage},
    system::{KernelFormat, Systems},
};

/// The kernel label of images whose kernel is the composed one, byte for byte.
const USUAL_KERNEL: &str = "one";
const KARGS: &str = "/usr/lib/bootc/kargs.d/20-case.toml";

/// The base that all images of a machine share.
///
/// # Errors
/// When it cannot be composed.
pub fn base(systems: &Systems) -> Result<OciImage> {
    systems.image("v1", KernelFormat::Split)
}

/// Makes `image`, or takes it from the cache.
///
/// # Errors
/// When a tool is missing or does not succeed.
pub fn make(systems: &Systems, image: &TestImage) -> Result<OciImage> {
    let base = base(systems)?;
    let kver = base.kernel_version()?;
    let split = derive(&base, &edits(&base, &kver, image)?, systems.cache())?;
    let version = image.label.clone();
    let made = match image.format {
        KernelFormat::Unified if image.defect != Some(Defect::NoKernel) => {
            let foreign = (image.defect == Some(Defect::ForeignRoot)).then(foreign_root);
            systems.unified(&split, &version, foreign, &kargs(image))?
        }
        _ => split,
    };
    match image.defect {
        Some(Defect::WrongArchitecture) => for_another_machine(systems, &made, &version),
        _ => Ok(made),
    }
}

/// Kernel arguments of the image, with what breaks its boot.
fn kargs(image: &TestImage) -> Vec<String> {
    let broken = matches!(image.health, Health::NoRoot | Health::KernelFails)
        .then(|| health::NO_ROOT_ARGUMENT.to_owned());
    image.kargs.iter().cloned().chain(broken).collect()
}

fn edits(base: &OciImage, kver: &str, image: &TestImage) -> Result<Edits> {
    let mut edits = Edits::new(&image.label);
    for (path, text) in &image.files {
        edits = edits.write(&format!("/{path}"), text.as_str(), 0o644);
    }
    let kargs = kargs(image);
    // In a UKI, it is the kernel's alone that it fails.
    let in_tree = !(image.format == KernelFormat::Unified && image.health == Health::KernelFails);
    if in_tree && !kargs.is_empty() {
        let list: Vec<_> = kargs.iter().map(|arg| format!("{arg:?}")).collect();
        edits = edits.write(KARGS, format!("kargs = [{}]\n", list.join(", ")), 0o644);
    }
    edits = health::break_as(edits, image.health);
    if image.health == Health::Panics {
        edits = edits.write(KARGS_FILE, health::silent_about_panics(base)?, 0o644);
    }
    edits = kernel(edits, base, kver, image)?;
    Ok(match image.defect {
        Some(Defect::NoKernel) => edits.without_split_kernel(kver),
        Some(Defect::TwoKernels) => edits.write("/usr/lib/modules/9.9.9/vmlinuz", "not a kernel", 0o644),
        _ => edits,
    })
}

/// Another kernel is the same with bytes behind it that nobody reads; another version is a folder of another name.
fn kernel(mut edits: Edits, base: &OciImage, kver: &str, image: &TestImage) -> Result<Edits> {
    if image.kernel == USUAL_KERNEL && image.kernel_version == 1 {
        return Ok(edits);
    }
    let file = |name: &str| {
        let path = format!("/usr/lib/modules/{kver}/{name}");
        base.read_file(&path)?.with_context(|| format!("no {path} in the image"))
    };
    let mut folder = format!("/usr/lib/modules/{kver}");
    if image.kernel_version != 1 {
        edits = edits.without_split_kernel(kver);
        folder = format!("{folder}.{}", image.kernel_version);
        edits = edits.entry(Entry::directory(&folder, 0o755));
        edits = edits.write(&format!("{folder}/initramfs.img"), file("initramfs.img")?, 0o644);
    }
    let mut bytes = file("vmlinuz")?;
    bytes.extend_from_slice(format!("{:4096}", image.kernel).as_bytes());
    Ok(edits.write(&format!("{folder}/vmlinuz"), bytes, 0o644))
}

/// A root that no image has.
fn foreign_root() -> KernelCmdline {
    let argument = format!("composefs={}", "0".repeat(64));
    argument.parse().unwrap_or_default()
}

fn for_another_machine(systems: &Systems, image: &OciImage, version: &str) -> Result<OciImage> {
    let writer = OciLayoutWriter::from_image(image, systems.cache().blobs())?.architecture("s390x");
    writer.finish(&systems.cache().dir().join(format!("elsewhere-{}", image.manifest_digest()?)), version)
}
