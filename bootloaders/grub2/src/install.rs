//! The loader's own binaries, for each firmware that the disk may meet.

use bootwright_core::{
    Error, ErrorKind, Result,
    boot_files::{efi_architecture, place},
    context::{BootContext, Firmware},
    efi,
    fs::Root,
    tree::TreeReader,
};
use memchr::memmem;

use crate::{
    bios,
    image::{self, OURS},
    menu::FOLDER,
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
    if !platform.is_in(tree).await? {
        return Err(platform.missing());
    }
    let program = platform.make(tree, &image::uefi_prefix()).await?;
    let name = format!("grub{}.efi", efi_architecture());
    update(&context.esp, &format!("{FOLDER}/{name}"), &program)?;
    // The path that firmware tries on a disk that it has not met (UEFI specification, section 3.5.1.1).
    let removable = format!("EFI/BOOT/BOOT{}.EFI", efi_architecture().to_ascii_uppercase());
    if is_ours(&context.esp, &removable)? {
        update(&context.esp, &removable, &program)?;
    }
    register(context, &format!("\\EFI\\bootwright\\{name}"))
}

async fn for_bios(context: &BootContext, tree: &dyn TreeReader) -> Result<()> {
    let platform = image::bios().ok_or_else(|| Error::unsupported("this architecture has no BIOS"))?;
    if !platform.is_in(tree).await? {
        return Err(platform.missing());
    }
    let (Some(disk), Some(esp)) = (&context.disk, context.esp_partition) else {
        return Err(Error::unsupported("it is not known which disk a BIOS would start"));
    };
    let core = platform.make(tree, &format!("(,gpt{})/{FOLDER}", esp.number)).await?;
    bios::write(disk, &platform.file(tree, "boot.img").await?, &core, context.esp.faults())
}

/// Whether the removable-media path is free, or holds a program of ours: that of another loader stays.
fn is_ours(esp: &Root, path: &str) -> Result<bool> {
    Ok(esp.read(path)?.is_none_or(|bytes| bytes.is_empty() || memmem::find(&bytes, OURS).is_some()))
}

fn update(esp: &Root, path: &str, program: &[u8]) -> Result<()> {
    if esp.read(path)?.as_deref() != Some(program) {
        place(esp, path, &mut &*program)?;
    }
    Ok(())
}

/// Tells the firmware of the loader, at the end of its boot order: what boots on this machine stays as it is.
fn register(context: &BootContext, file: &str) -> Result<()> {
    match context.esp_partition {
        Some(partition) => efi::register(&*context.efi, partition, file, "Bootwright (GRUB)"),
        None => Ok(()),
    }
}
