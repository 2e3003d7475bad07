//! The loader's own binaries.

use bootwright_core::{
    Error, Result,
    bls::compare_versions,
    boot_files::{efi_architecture, place, removable_path, systemd_efi_program},
    context::BootContext,
    efi,
    fs::{ReplaceStyle, Root},
    tree::TreeReader,
};
use memchr::memmem;

use crate::{boot_root, names::ENTRIES};

/// Only written where there is no such file. No `default`: it would win over any order, even for an exhausted entry.
const LOADER_CONF: &str = "# Written by Bootwright once; yours to change.\n\
     # Do not set `default`: it would defeat the fallback to the last good deployment.\n\
     timeout 0\n";

/// Installs or updates the loader from a tree.
pub async fn install(context: &BootContext, tree: &dyn TreeReader) -> Result<()> {
    let program = loader(tree).await?;
    let esp = &context.esp;
    let name = format!("systemd-boot{}.efi", efi_architecture());
    update(esp, &format!("EFI/systemd/{name}"), &program)?;
    update(esp, &removable_path(), &program)?;
    if !esp.exists("loader/loader.conf") {
        esp.replace("loader/loader.conf", LOADER_CONF.as_bytes(), ReplaceStyle::Durable)?;
    }
    register(context, &format!("\\EFI\\systemd\\{name}"))?;
    let boot = boot_root(context);
    boot.create_dir_all(ENTRIES)?;
    // Says which kind of entries is kept here, for tools that add some (UAPI.1).
    if !boot.exists("loader/entries.srel") {
        boot.replace("loader/entries.srel", b"type1\n", ReplaceStyle::Durable)?;
    }
    Ok(())
}

/// Tells the firmware of the loader, at the end of its boot order: what boots on this machine stays as it is. On a disk's own machine the
/// removable-media path has started the loader anyway; this is the way back where that path belongs to somebody else.
fn register(context: &BootContext, file: &str) -> Result<()> {
    match context.esp_partition {
        Some(partition) => efi::register(&*context.efi, partition, file, "Linux Boot Manager"),
        None => Ok(()),
    }
}

async fn loader(tree: &dyn TreeReader) -> Result<Vec<u8>> {
    match systemd_efi_program(tree, "systemd-boot", ".efi.signed").await {
        Err(error) if error.kind() == bootwright_core::ErrorKind::NotFound => {
            systemd_efi_program(tree, "systemd-boot", ".efi").await
        }
        found => found,
    }
}

/// Replaces one binary, unless it is equal, newer, or somebody else's program.
fn update(esp: &Root, path: &str, program: &[u8]) -> Result<()> {
    let present = esp.read(path)?;
    let write = match &present {
        None => true,
        Some(bytes) if bytes == program || bytes.is_empty() => bytes.is_empty(),
        Some(bytes) => match (version(bytes), version(program)) {
            (Some(old), Some(new)) => compare_versions(&old, &new).is_le(),
            // Not systemd-boot: another loader lives here, and stays.
            (None, _) => return keep_foreign(esp, path),
            (Some(_), None) => true,
        },
    };
    if write {
        place(esp, path, &mut &*program)?;
    }
    Ok(())
}

/// At the path that every firmware knows, a foreign loader would start instead of ours.
fn keep_foreign(esp: &Root, path: &str) -> Result<()> {
    if path.starts_with("EFI/systemd/") {
        return Err(Error::invalid(format!("{} is not systemd-boot", esp.show(path)))
            .with_hint("move it away, then run the command again"));
    }
    Ok(())
}

/// The version in the marker that systemd-boot carries (`#### LoaderInfo: systemd-boot 257.1 ####`, systemd's
/// src/boot/boot.c); bootctl compares the same.
fn version(program: &[u8]) -> Option<String> {
    const MARKER: &[u8] = b"#### LoaderInfo: systemd-boot ";
    let start = memmem::find(program, MARKER)? + MARKER.len();
    let rest = program.get(start..)?;
    let end = memmem::find(rest.get(..100).unwrap_or(rest), b" ####")?;
    Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use bootwright_core::fs::Faults;

    use super::*;

    fn program(version: &str) -> Vec<u8> {
        format!("MZ\0#### LoaderInfo: systemd-boot {version} ####\0").into_bytes()
    }

    #[test]
    fn an_older_loader_is_replaced_and_a_newer_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let esp = Root::open(folder.path(), Faults::none()).unwrap();
        for (installed, offered, after) in [("257.9", "257.13-1", "257.13-1"), ("258", "257.13", "258")] {
            esp.replace("x.efi", &program(installed), ReplaceStyle::Relaxed).unwrap();
            update(&esp, "x.efi", &program(offered)).unwrap();
            assert_eq!(version(&esp.read("x.efi").unwrap().unwrap()).as_deref(), Some(after));
        }
    }

    #[test]
    fn an_equal_loader_is_not_written_again_and_a_foreign_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::none();
        let esp = Root::open(folder.path(), faults.clone()).unwrap();
        for content in [program("257"), b"shim".to_vec()] {
            esp.replace("EFI/BOOT/BOOTX64.EFI", &content, ReplaceStyle::Relaxed).unwrap();
            let before = faults.count();
            update(&esp, "EFI/BOOT/BOOTX64.EFI", &program("257")).unwrap();
            assert_eq!(faults.count(), before);
        }
        assert!(update(&esp, "EFI/systemd/x.efi", &program("257")).is_ok());
    }
}
