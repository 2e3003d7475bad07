//! Whether this bootloader can start this kernel with these arguments: the only place where the two sides meet.

use crate::{
    capability::{BackendCapabilities, BootloaderCapabilities},
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
/// - `Integrity`: a UKI's own command line does not name this root, or names another as well (invariant I8). For a backend whose root
///   arguments cannot be known when the UKI is built: it names any root.
/// - `InvalidInput`: an argument would override a root argument.
pub fn compatible(
    artifacts: &BootArtifacts,
    sources: &ArgumentSources,
    backend: BackendCapabilities,
    loader: BootloaderCapabilities,
) -> Result<KernelCmdline> {
    let (comes_first, extra) = match &artifacts.kernel {
        KernelArtifacts::Split { .. } => {
            let root_args = &artifacts.root_args;
            (root_args, ending_panics(root_args, split(artifacts, sources, loader)?)?)
        }
        KernelArtifacts::Unified { embedded, .. } if backend.predictable_root_args => {
            (embedded, sealed(artifacts, embedded, sources, loader)?)
        }
        KernelArtifacts::Unified { embedded, .. } => {
            (embedded, ending_panics(embedded, unsealed(artifacts, embedded, sources, loader)?)?)
        }
    };
    fits(&comes_first.merged_with(&extra), std::env::consts::ARCH)?;
    Ok(extra)
}

/// A kernel that panics stands still for ever, if nothing else was said (Documentation/admin-guide/kernel-parameters.txt, `panic=`), and a trial would never end. A
/// sealed UKI says what its maker wants; there, early boot sees to it.
const AFTER_PANIC: &str = "panic=10";

/// `extra`, with [`AFTER_PANIC`] unless it or what comes first says something about panics.
fn ending_panics(comes_first: &KernelCmdline, extra: KernelCmdline) -> Result<KernelCmdline> {
    if comes_first.iter().chain(extra.iter()).any(|arg| arg.sets("panic")) {
        return Ok(extra);
    }
    Ok(extra.merged_with(&AFTER_PANIC.parse()?))
}

/// What loaders add to a command line: GRUB the path of the kernel, systemd-boot those of initrds.
const ADDED_BY_LOADERS: usize = 256;

/// Bytes of a command line that the kernel takes (`COMMAND_LINE_SIZE` in arch/*/include/asm/setup.h and its uapi, less the zero at the end).
fn longest(arch: &str) -> usize {
    match arch {
        "riscv64" => 1023,
        "s390x" => 4095,
        _ => 2047,
    }
}

/// The kernel drops what is too long without a word, and it may drop the argument that names the disk.
fn fits(whole: &KernelCmdline, arch: &str) -> Result<()> {
    let (found, longest) = (whole.to_string().len(), longest(arch) - ADDED_BY_LOADERS);
    if found <= longest {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the kernel command line would have {found} bytes, and Linux on {arch} takes {longest} besides what a loader adds"
    ))
    .with_hint("it would drop the rest: remove kernel arguments, from the image or from those of the install"))
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
    leave_the_root(artifacts, &extra)?;
    Ok(extra)
}

/// Which tree boots is not up to anybody's kernel arguments.
fn leave_the_root(artifacts: &BootArtifacts, extra: &KernelCmdline) -> Result<()> {
    for root_arg in artifacts.root_args.iter() {
        if let Some(clash) = extra.iter().find(|arg| arg.sets(root_arg.key())) {
            return Err(Error::invalid(format!("kernel argument {clash} would override {root_arg}"))
                .with_hint("which tree boots is not up to kernel arguments: remove it"));
        }
    }
    Ok(())
}

/// A UKI that was built for this root, and has to say so itself.
fn sealed(
    artifacts: &BootArtifacts,
    embedded: &KernelCmdline,
    sources: &ArgumentSources,
    loader: BootloaderCapabilities,
) -> Result<KernelCmdline> {
    starts_ukis(loader)?;
    for root_arg in artifacts.root_args.iter() {
        let same_key = embedded.iter().filter(|arg| arg.sets(root_arg.key()));
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
    leave_the_root(artifacts, &wanted)?;
    if !wanted.is_empty() && !loader.addons {
        return Err(Error::unsupported(format!("a sealed UKI takes no further kernel arguments ({wanted})"))
            .with_hint("put them into the image's UKI or an addon, or leave them out"));
    }
    Ok(wanted)
}

/// A UKI of a backend that knows its root arguments only at deployment: they come beside the UKI, whose own command line must leave
/// the choice of the root to them.
fn unsealed(
    artifacts: &BootArtifacts,
    embedded: &KernelCmdline,
    sources: &ArgumentSources,
    loader: BootloaderCapabilities,
) -> Result<KernelCmdline> {
    starts_ukis(loader)?;
    leave_the_root(artifacts, &sources.user)?;
    if let Some(clash) =
        artifacts.root_args.iter().find(|root| embedded.iter().any(|arg| arg.sets(root.key())))
    {
        return Err(Error::integrity(format!(
            "the UKI's own command line chooses the root by {:?}",
            clash.key()
        ))
        .with_context("embedded command line", embedded)
        .with_hint("this backend chooses the root at deployment: build the UKI without that argument"));
    }
    if !loader.addons {
        return Err(Error::unsupported("this bootloader cannot tell a UKI which tree to boot")
            .with_hint("use an image with kernel and initramfs apart, or another bootloader or backend"));
    }
    Ok(artifacts.root_args.merged_with(&sources.user.without(embedded)))
}

fn starts_ukis(loader: BootloaderCapabilities) -> Result<()> {
    if loader.unified_kernels {
        return Ok(());
    }
    Err(Error::unsupported("this bootloader cannot start a UKI")
        .with_hint("use an image with kernel and initramfs, or another bootloader"))
}
