//! What capabilities exclude, in one place: asked before the plugin is.

use crate::{
    capability::{BackendCapabilities, BootloaderCapabilities},
    error::{Error, Result},
    model::{BootPlan, EntrySpec, KernelArtifacts, PlannedEntry},
};

/// Whether root arguments can be asked for ahead of deployment.
pub(super) fn root_args(can: BackendCapabilities) -> Result<()> {
    if can.predictable_root_args {
        return Ok(());
    }
    Err(Error::unsupported(
        "this storage backend knows its root arguments only once an image is installed (predictable-root-args)",
    )
    .with_hint("use an image with kernel and initramfs: its UKI, where one is needed, is made at install"))
}

/// Whether every part of a plan is something that this bootloader can do.
pub(super) fn plan(plan: &BootPlan, can: BootloaderCapabilities) -> Result<()> {
    if plan.entries.is_empty() {
        return Err(Error::internal("refusing to publish a plan that boots nothing"));
    }
    if plan.one_shot.is_some() && !can.one_shot {
        return Err(Error::unsupported("this bootloader cannot boot an entry exactly once (one-shot)")
            .with_hint("choose the entry in the boot menu, or use another bootloader"));
    }
    plan.entries.iter().try_for_each(|planned| match planned {
        PlannedEntry::Keep(_) => Ok(()),
        PlannedEntry::Add(spec) => entry(spec, can),
    })
}

fn entry(spec: &EntrySpec, can: BootloaderCapabilities) -> Result<()> {
    if spec.tries.is_some() && !can.boot_counting {
        return Err(Error::unsupported("this bootloader cannot count the tries of an entry (boot-counting)")
            .with_hint("publish the entry without tries"));
    }
    match &spec.artifacts.kernel {
        KernelArtifacts::Split { .. } if !can.split_kernels => Err(Error::unsupported(
            "this bootloader cannot start a kernel with a separate initrd (split-kernels)",
        )
        .with_hint("use an image with a UKI, or another bootloader (`bootwright plugins` lists them)")),
        KernelArtifacts::Unified { .. } if !can.unified_kernels => {
            Err(Error::unsupported("this bootloader cannot start a UKI (unified-kernels)")
                .with_hint("use an image with kernel and initramfs, or another bootloader"))
        }
        KernelArtifacts::Unified { .. } if !can.addons && !spec.extra_args.is_empty() => {
            Err(Error::unsupported(format!(
                "this bootloader cannot add arguments to a sealed UKI (addons): {}",
                spec.extra_args
            ))
            .with_hint("put them into the image's UKI or an addon, or leave them out"))
        }
        _ => Ok(()),
    }
}
