//! `install to-disk` and `install to-filesystem`.

use std::{path::Path, sync::Arc};

use bootwright_core::{
    Effect, Error, IoContext, Result,
    context::{BackendContext, BootContext, BootDisk, Firmware, PartitionIdentity, Sealing},
    efi::{AbsentVariables, EfiVariables},
    engine::{Engine, InstallRequest, Parts, StateStore, SystemRecord},
    fs::Root,
    model::{DeploymentId, ImageSummary, KernelArg, KernelCmdline, ProgressEvent, Transport},
    registry::{BackendPlugin, BootloaderPlugin, Verity},
    transport, wrap,
};

use super::{
    Context, Transports, block_on,
    plugins::{backend_for_install, bootloader_for_install},
    print,
};
use crate::{
    args::{InstallOptions, ToDisk, ToFilesystem},
    disk::{
        ByteSize, CheckedDisk, DiskRequest, ExistingTarget, MountedTarget, Wanted,
        device::{TargetKind, create_image_file},
        filesystem::root_maker,
    },
    machine,
    report::INCOMPLETE,
};

/// Everything that is known before the disk is touched.
struct Choice<'a> {
    context: &'a Context<'a>,
    options: &'a InstallOptions,
    backend: &'static BackendPlugin,
    loader: &'static BootloaderPlugin,
    verity: Verity,
    image: ImageSummary,
}

/// Where the new system goes, mounted.
struct Place {
    root: Root,
    esp: Root,
    xbootldr: Option<Root>,
    esp_partition: Option<PartitionIdentity>,
    disk: Option<BootDisk>,
    firmware: Firmware,
    filesystem: String,
    root_uuid: String,
    efi: Arc<dyn EfiVariables>,
    sealing: Sealing,
    notes: std::path::PathBuf,
}

/// `install to-disk`
pub fn to_disk(context: &Context<'_>, options: &ToDisk) -> Result<()> {
    let choice = Choice::new(context, &options.install)?;
    let filesystem = choice.filesystem(options.filesystem.as_deref())?;
    let disk = choice.check_disk(options, filesystem)?;
    choice.say(format!(
        "{}: {} and {} will be made",
        disk.path().display(),
        "EFI system partition",
        filesystem
    ));
    if !disk.contents().is_empty() {
        choice.say(format!("this is overwritten:\n{}", disk.contents()));
    }
    let elsewhere = disk.kind() == TargetKind::ImageFile;
    let (efi, firmware) = (choice.firmware(elsewhere), choice.firmware_kind(elsewhere));
    let mounted = disk.write()?;
    let deployment =
        choice.install(place(&mounted, efi, firmware)).map_err(|error| incomplete(error, &options.target))?;
    choice.finish_disk(mounted).map_err(|error| incomplete(error, &options.target))?;
    print(&format!(
        "Installed {} on {} as deployment {deployment}.",
        options.install.image,
        options.target.display()
    ));
    Ok(())
}

/// `install to-filesystem`
pub fn to_filesystem(context: &Context<'_>, options: &ToFilesystem) -> Result<()> {
    let choice = Choice::new(context, &options.install)?;
    let target = ExistingTarget::open(&options.root, options.esp.as_deref())?;
    let filesystem = target.filesystem.clone();
    choice.filesystem(Some(&filesystem))?;
    let notes = tempfile::tempdir().context_io(|| "make a temporary folder".to_owned())?;
    let (root, esp) = (target.root.clone(), target.esp.clone());
    let deployment = choice.install(Place {
        root: target.root,
        esp: target.esp,
        xbootldr: None,
        esp_partition: target.esp_partition,
        disk: target.disk,
        firmware: choice.firmware_kind(false),
        filesystem,
        root_uuid: target.root_uuid,
        efi: choice.firmware(false),
        sealing: Sealing::Now,
        notes: notes.path().to_owned(),
    });
    let deployment = deployment.map_err(|error| incomplete(error, &options.root))?;
    root.sync_filesystem()?;
    esp.sync_filesystem()?;
    print(&format!(
        "Installed {} in {} as deployment {deployment}.",
        options.install.image,
        options.root.display()
    ));
    Ok(())
}

/// A disk that is unmounted at the end: a backend may finish its store then, if it knows how.
fn place(mounted: &MountedTarget, efi: Arc<dyn EfiVariables>, firmware: Firmware) -> Place {
    Place {
        root: mounted.root().clone(),
        esp: mounted.esp().clone(),
        xbootldr: mounted.xbootldr().cloned(),
        disk: Some(mounted.disk()),
        firmware,
        esp_partition: Some(mounted.esp_partition()),
        filesystem: mounted.filesystem().to_owned(),
        root_uuid: mounted.root_uuid(),
        efi,
        sealing: Sealing::Offline,
        notes: mounted.scratch().to_owned(),
    }
}

/// Whatever step failed: a new disk is not a system until all of them are done.
fn incomplete(error: Error, target: &Path) -> Error {
    let error = error.with_effect(Effect::Partial).with_context(INCOMPLETE, target.display());
    if error.hint().is_some() {
        return error;
    }
    error.with_hint("remove the cause and install again, with --wipe for a disk")
}

/// What is demanded: verified reads where the backend has them by default, unless somebody said otherwise.
fn verity(options: &InstallOptions, backend: &BackendPlugin) -> Verity {
    let wanted = backend.verifies_by_default() || options.require_verity;
    if wanted && !options.allow_missing_verity { Verity::Required } else { Verity::Optional }
}

impl<'a> Choice<'a> {
    fn new(context: &'a Context<'a>, options: &'a InstallOptions) -> Result<Self> {
        let settings = context.settings;
        let backend = backend_for_install(options.backend.as_deref(), settings.default_backend)?;
        let loader = bootloader_for_install(options.boot.as_deref(), settings.default_bootloader)?;
        let verity = verity(options, backend);
        wrap::check_verity(backend, verity)?;
        let image = block_on(transport::inspect(&options.image, None))?;
        // The engine asks as well; here it is asked before the disk is touched.
        context.image_policy().admit_blocking(&image)?;
        let choice = Self { context, options, backend, loader, verity, image };
        if verity == Verity::Optional && !options.allow_missing_verity {
            choice.say(format!(
                "the storage backend {} does not make the kernel verify what it reads, unless --require-verity says so and host \
                 and image can: the system is installed without",
                backend.name
            ));
        }
        if options.target_imgref.is_none() && options.image.transport() != Transport::Registry {
            choice.say(format!(
                "upgrades will follow {} as the new system sees it; --target-imgref names another image",
                options.image
            ));
        }
        Ok(choice)
    }

    fn say(&self, text: String) {
        self.context.progress.report(ProgressEvent::Message(text));
    }

    /// The type of the root file system: as asked, or what the backend likes best.
    fn filesystem(&self, asked: Option<&'a str>) -> Result<&'a str> {
        let known = self.backend.capabilities.root_filesystems;
        let Some(filesystem) = asked.or(known.first().copied()) else {
            return Err(Error::internal(format!("the backend {} names no file system", self.backend.name)));
        };
        if known.contains(&filesystem) {
            return Ok(filesystem);
        }
        Err(Error::unsupported(format!(
            "the storage backend {} cannot use a root file system of type {filesystem}",
            self.backend.name
        ))
        .with_hint(format!("it can use: {}", known.join(", "))))
    }

    /// A store holds the layers unpacked, and room is needed for the next version beside it.
    fn root_minimum(&self) -> ByteSize {
        let transfer: u64 = self.image.layers.iter().map(|layer| layer.size).sum();
        ByteSize(transfer.saturating_mul(3)).max(ByteSize::mib(256))
    }

    fn check_disk(&self, options: &'a ToDisk, filesystem: &'a str) -> Result<CheckedDisk> {
        root_maker(filesystem)?;
        let created = options.disk_size.map(|size| create_image_file(&options.target, size)).transpose()?;
        if options.via_loopback && !options.target.is_file() {
            return Err(Error::invalid(format!("{} is not an image file", options.target.display()))
                .with_hint("leave --via-loopback out for a disk; --disk-size makes an image file"));
        }
        let boot_filesystem = self.boot_filesystem(options)?;
        let has_bios = matches!(self.image.architecture.as_str(), "amd64" | "386");
        let request = DiskRequest {
            wanted: Wanted {
                esp: options.esp_size,
                boot: options.boot_partition,
                bios_boot: has_bios && self.loader.partitions.bios_boot,
                root: options.root_size,
                root_minimum: self.root_minimum(),
                architecture: &self.image.architecture,
            },
            filesystem,
            boot_filesystem,
            mkfs_args: (self.backend.mkfs_args)(filesystem, self.verity),
            wipe: options.wipe,
        };
        let checked = CheckedDisk::check(&options.target, request);
        if checked.is_err() && created == Some(true) {
            #[expect(clippy::disallowed_methods, reason = "the empty image file that was made a moment ago")]
            let _ = std::fs::remove_file(&options.target);
        }
        checked
    }

    /// A system for another machine does not concern the firmware of this one.
    fn firmware(&self, elsewhere: bool) -> Arc<dyn EfiVariables> {
        if elsewhere || self.options.generic_image { Arc::new(AbsentVariables) } else { machine::firmware() }
    }

    fn firmware_kind(&self, elsewhere: bool) -> Firmware {
        if elsewhere || self.options.generic_image { Firmware::Either } else { machine::firmware_kind() }
    }

    /// The type of a separate boot file system: as asked, or what the bootloader likes best.
    fn boot_filesystem(&self, options: &'a ToDisk) -> Result<&'a str> {
        let known = self.loader.partitions.boot_filesystems;
        let asked = options.boot_filesystem.as_deref().or(known.first().copied()).unwrap_or_default();
        if options.boot_partition.is_none() || known.contains(&asked) {
            return Ok(asked);
        }
        let name = self.loader.name;
        if known.is_empty() {
            return Err(Error::unsupported(format!("{name} has no use for a boot partition of its own"))
                .with_hint("leave --boot-partition out"));
        }
        Err(Error::unsupported(format!("{name} cannot read a boot file system of type {asked}"))
            .with_hint(format!("it can read: {}", known.join(", "))))
    }

    fn install(&self, place: Place) -> Result<DeploymentId> {
        let request = self.request(&place)?;
        let engine = self.engine(place)?;
        // The engine is moved in, so that no open folder of the target outlives the call.
        block_on(async move { engine.install(&request).await })
    }

    fn request(&self, place: &Place) -> Result<InstallRequest> {
        let options = self.options;
        let machine_args = [KernelArg::new(format!("root=UUID={}", place.root_uuid))?, KernelArg::new("rw")?];
        Ok(InstallRequest {
            image: options.image.clone(),
            origin: options.target_imgref.clone().unwrap_or_else(|| options.image.clone()),
            system: SystemRecord {
                backend: self.backend.name.to_owned(),
                bootloader: self.loader.name.to_owned(),
                stateroot: options.stateroot.clone().unwrap_or_default(),
                allow_missing_verity: self.verity == Verity::Optional,
            },
            machine_args: machine_args.into_iter().collect(),
            user_args: options.karg.iter().cloned().collect(),
            filesystem: Some(place.filesystem.clone()),
            notes: place.notes.clone(),
        })
    }

    fn engine(&self, place: Place) -> Result<Engine> {
        let backend = BackendContext {
            sysroot: place.root.clone(),
            running_root: None,
            stateroot: self.options.stateroot.clone().unwrap_or_default(),
            verity: self.verity,
            sealing: place.sealing,
        };
        let loader = BootContext {
            esp: place.esp,
            xbootldr: place.xbootldr,
            sysroot: place.root.clone(),
            esp_partition: place.esp_partition,
            efi: place.efi,
            disk: place.disk,
            firmware: place.firmware,
        };
        Ok(Engine::new(Parts {
            backend: wrap::open_backend(self.backend, backend)?,
            loader: wrap::open_loader(self.loader, loader)?,
            state: StateStore::new(place.root),
            images: Arc::new(Transports),
            policy: self.context.image_policy(),
            running_cmdline: KernelCmdline::new(),
            boot_id: machine::boot_id()?,
            progress: self.context.progress.clone(),
            patience: self.context.patience(),
        }))
    }

    /// Unmounts, lets the backend finish what can only be done now, and lets go of the disk.
    fn finish_disk(&self, mounted: MountedTarget) -> Result<()> {
        let offline = mounted.finish()?;
        (self.backend.seal_offline)(&offline.root(self.verity))?;
        offline.close()
    }
}
