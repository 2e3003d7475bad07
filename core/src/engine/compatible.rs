//! Whether this bootloader can start this kernel with these arguments: the only place where the two sides meet.

use crate::{
    capability::BootloaderCapabilities,
    error::{Error, Result},
    model::{BootArtifacts, KernelArtifacts, KernelCmdline},
};

/// Where arguments besides the root arguments come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArgumentSources {
    /// From the image (`/usr/lib/bootc/kargs.d`). A UKI embeds its own.
    pub image: KernelCmdline,
    /// From the install: how this machine finds its physical root. A sealed UKI finds it by partition type.
    pub machine: KernelCmdline,
    /// From the administrator.
    pub user: KernelCmdline,
}

/// Checks the pairing and returns the arguments that the boot entry adds to the root arguments.
///
/// # Errors
/// - `Unsupported`: the loader cannot start this kernel format, or cannot bring user arguments to a sealed UKI.
/// - `Integrity`: a UKI's own command line does not name this root, or names another as well (invariant I8).
/// - `InvalidInput`: an argument would override a root argument.
pub fn compatible(
    artifacts: &BootArtifacts,
    sources: &ArgumentSources,
    loader: BootloaderCapabilities,
) -> Result<KernelCmdline> {
    match &artifacts.kernel {
        KernelArtifacts::Split { .. } => split(artifacts, sources, loader),
        KernelArtifacts::Unified { embedded, .. } => unified(artifacts, embedded, sources, loader),
    }
}

fn split(
    artifacts: &BootArtifacts,
    sources: &ArgumentSources,
    loader: BootloaderCapabilities,
) -> Result<KernelCmdline> {
    if !loader.split_kernels {
        return Err(Error::unsupported("this bootloader cannot start a kernel with a separate initrd")
            .with_hint("use an image with a UKI, or another bootloader (`bootwright plugins` lists them)"));
    }
    let extra = sources.image.merged_with(&sources.machine).merged_with(&sources.user);
    for root_arg in artifacts.root_args.iter() {
        if let Some(clash) = extra.iter().find(|arg| arg.key() == root_arg.key()) {
            return Err(Error::invalid(format!("kernel argument {clash} would override {root_arg}"))
                .with_hint("which tree boots is not up to kernel arguments: remove it"));
        }
    }
    Ok(extra)
}

fn unified(
    artifacts: &BootArtifacts,
    embedded: &KernelCmdline,
    sources: &ArgumentSources,
    loader: BootloaderCapabilities,
) -> Result<KernelCmdline> {
    if !loader.unified_kernels {
        return Err(Error::unsupported("this bootloader cannot start a UKI")
            .with_hint("use an image with kernel and initramfs, or another bootloader"));
    }
    for root_arg in artifacts.root_args.iter() {
        let same_key = embedded.iter().filter(|arg| arg.key() == root_arg.key());
        if !embedded.contains(root_arg) || same_key.count() != 1 {
            return Err(Error::integrity(format!(
                "the UKI's own command line does not boot this image ({root_arg})"
            ))
            .with_context("embedded command line", embedded)
            .with_hint(
                "build the UKI again for this image, with the arguments that `image root-args` prints",
            ));
        }
    }
    let wanted = sources.user.without(embedded);
    if !wanted.is_empty() && !loader.addons {
        return Err(Error::unsupported(format!("a sealed UKI takes no further kernel arguments ({wanted})"))
            .with_hint("put them into the image's UKI or an addon, or leave them out"));
    }
    Ok(wanted)
}
