//! The loader's own binaries, for each firmware that the disk may meet.

use bootwright_core::{
    Error, ErrorKind, Result,
    boot_files::{efi_architecture, removable_path},
    context::{BootContext, Firmware},
    efi,
    fs::Root,
    tree::TreeReader,
};
use memchr::memmem;

use crate::{
    bios,
    image::{self, OURS},
    made::Program,
    menu::FOLDER,
    signed::{Chain, shim_name, shim_path, update},
    stage::ensure_env,
};

/// Installs or updates GRUB from a tree: for UEFI and for BIOS, as far as the tree has the modules and the disk the place. What this machine's own
/// firmware needs has to work; for a machine that is not known, one of both.
pub async fn install(context: &BootContext, tree: &dyn TreeReader) -> Result<()> {
    ensure_env(&context.esp)?;
    let (uefi, bios) = (for_uefi(context, tree).await, for_bios(context, tree).await);
    let (needed, other) = match context.firmware {
        Firmware::Bios => (bios, uefi),
        Firmware::Either if uefi.is_err() && bios.is_ok() => (bios, uefi),
        Firmware::Uefi | Firmware::Either => (uefi, bios),
    };
    needed?;
    match other {
        // A disk, or an image, that is made for one of both only.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
            tracing::info!(%error, "the disk will boot from one kind of firmware only");
            Ok(())
        }
        other => other,
    }
}

async fn for_uefi(context: &BootContext, tree: &dyn TreeReader) -> Result<()> {
    let platform =
        image::uefi().ok_or_else(|| Error::unsupported("GRUB has no UEFI program for this architecture"))?;
    if let Some(chain) = Chain::find(tree, &platform).await? {
        chain.install(context, is_free(&context.esp, chain.shim())?)?;
        return register(context, &shim_name());
    }
    if efi::secure_boot(&*context.efi)? {
        return Err(not_signed());
    }
    let name = format!("grub{}.efi", efi_architecture());
    let path = format!("{FOLDER}/{name}");
    let installed = |_| context.esp.read(&path);
    let program = Program::of(&context.esp, &platform, tree, &image::uefi_prefix(), installed).await?;
    update(&context.esp, &path, &program.bytes)?;
    if is_free(&context.esp, &program.bytes)? {
        update(&context.esp, &removable_path(), &program.bytes)?;
    }
    program.remember(&context.esp)?;
    register(context, &name)
}

fn not_signed() -> Error {
    Error::not_found("Secure Boot is on, and the image has no shim and signed GRUB").with_hint(
        "install the packages shim-signed and grub-efi-amd64-signed (Debian) or shim-x64 and grub2-efi-x64 (Fedora) in the image, \
         or turn Secure Boot off",
    )
}

async fn for_bios(context: &BootContext, tree: &dyn TreeReader) -> Result<()> {
    let platform = image::bios().ok_or_else(|| Error::unsupported("this architecture has no BIOS"))?;
    let (Some(disk), Some(esp)) = (&context.disk, context.esp_partition) else {
        return Err(Error::unsupported("it is not known which disk a BIOS would start"));
    };
    bios::partition(disk)?;
    let prefix = format!("(,gpt{})/{FOLDER}", esp.number);
    let core = Program::of(&context.esp, &platform, tree, &prefix, |length| bios::read(disk, length)).await?;
    bios::write(disk, &platform.file(tree, "boot.img").await?, &core.bytes, context.esp.faults())?;
    core.remember(&context.esp)
}

/// Whether nothing lies in the removable-media path, or something of ours: a program of another loader stays. `new` is what is about
/// to be put there.
fn is_free(esp: &Root, new: &[u8]) -> Result<bool> {
    let Some(program) = esp.read(&removable_path())?.filter(|program| !program.is_empty()) else {
        return Ok(true);
    };
    let our_shim = || esp.read(&shim_path());
    Ok(memmem::find(&program, OURS).is_some() || program == new || our_shim()?.as_deref() == Some(&program))
}

/// Tells the firmware of the loader, at the end of its boot order: what boots on this machine stays as it is.
fn register(context: &BootContext, name: &str) -> Result<()> {
    let file = format!("\\EFI\\bootwright\\{name}");
    match context.esp_partition {
        Some(partition) => efi::register(&*context.efi, partition, &file, "Bootwright (GRUB)"),
        None => Ok(()),
    }
}
