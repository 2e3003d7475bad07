//! Opens an installed system: its plugins, as recorded at install or as found, and an engine over them.

use std::{path::Path, sync::Arc};

use bootwright_core::{
    Result,
    context::{BackendContext, BootContext, Sealing},
    engine::{Engine, Parts, StateStore, SystemRecord},
    model::Stateroot,
    registry::{self, BackendPlugin, BootloaderPlugin, Verity},
    wrap,
};

use super::{Context, Transports, not_installed, plugins::detected};
use crate::machine::{Access, Machine};

/// An installed system, ready to be asked.
#[derive(Debug)]
pub struct System {
    /// Does the work. Dropped before what it stands on.
    pub engine: Engine,
    _machine: Machine,
}

/// The system that the command is about, or `None` if it is none of ours.
///
/// # Errors
/// `NotFound` if it needs a plugin that this program lacks; else as opening fails.
pub fn open(context: &Context<'_>, access: Access) -> Result<Option<System>> {
    let Some(machine) = machine(context, access)? else { return Ok(None) };
    let state = StateStore::new(machine.sysroot.clone());
    let record = state.system()?;
    let mut backend_context = backend_context(&machine, record.as_ref());
    let boot_context = boot_context(&machine);
    let Some(backend) = backend_of(&backend_context, record.as_ref())? else { return Ok(None) };
    let Some(loader) = bootloader_of(&boot_context, record.as_ref())? else { return Ok(None) };
    if record.is_none() && !backend.verifies_by_default() {
        // Nobody demanded of this system what its backend cannot do.
        backend_context.verity = Verity::Optional;
    }
    let parts = Parts {
        backend: wrap::open_backend(backend, backend_context)?,
        loader: wrap::open_loader(loader, boot_context)?,
        state,
        images: Arc::new(Transports),
        policy: context.image_policy(),
        running_cmdline: machine.cmdline.clone(),
        boot_id: machine.boot_id.clone(),
        progress: context.progress.clone(),
        patience: context.patience(),
    };
    Ok(Some(System { engine: Engine::new(parts), _machine: machine }))
}

/// The same for commands that need one.
///
/// # Errors
/// `NotFound` if it is none of ours, else those of [`open`].
pub fn require(context: &Context<'_>, access: Access) -> Result<System> {
    open(context, access)?.ok_or_else(|| not_installed(context))
}

/// Whether the commands are about the system that runs, not about one on another disk.
pub fn is_running(context: &Context<'_>) -> bool {
    context.global.sysroot.is_none()
}

fn machine(context: &Context<'_>, access: Access) -> Result<Option<Machine>> {
    match (&context.global.sysroot, &context.global.system_esp) {
        (Some(sysroot), Some(esp)) => Machine::mounted(sysroot, esp).map(Some),
        _ => Machine::running(Path::new(context.settings.sysroot), access),
    }
}

fn backend_context(machine: &Machine, record: Option<&SystemRecord>) -> BackendContext {
    let optional = record.is_some_and(|record| record.allow_missing_verity);
    BackendContext {
        sysroot: machine.sysroot.clone(),
        running_root: machine.running_root.clone(),
        stateroot: record.map_or_else(Stateroot::default, |record| record.stateroot.clone()),
        verity: if optional { Verity::Optional } else { Verity::Required },
        sealing: Sealing::Now,
    }
}

fn boot_context(machine: &Machine) -> BootContext {
    BootContext {
        esp: machine.esp.clone(),
        xbootldr: machine.xbootldr.clone(),
        sysroot: machine.sysroot.clone(),
        esp_partition: machine.esp_partition,
        efi: machine.efi.clone(),
        disk: machine.disk.clone(),
        firmware: machine.firmware,
    }
}

fn backend_of(
    context: &BackendContext,
    record: Option<&SystemRecord>,
) -> Result<Option<&'static BackendPlugin>> {
    match record {
        Some(record) => registry::backend(&record.backend).map(Some),
        None => detected(&registry::backends(), |p| p.name, "storage backend", |p| (p.detect)(context)),
    }
}

fn bootloader_of(
    context: &BootContext,
    record: Option<&SystemRecord>,
) -> Result<Option<&'static BootloaderPlugin>> {
    match record {
        Some(record) => registry::bootloader(&record.bootloader).map(Some),
        None => detected(&registry::bootloaders(), |p| p.name, "bootloader", |p| (p.detect)(context)),
    }
}
