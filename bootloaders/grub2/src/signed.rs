//! A distribution's signed GRUB, and the shim that the firmware trusts and that starts it: for Secure Boot.
//!
//! They are copied byte for byte. GRUB looks for its configuration in a folder of the distribution; a few lines there lead to ours.

use bootwright_core::{
    Error, Result,
    boot_files::{efi_architecture, place, removable_path},
    context::BootContext,
    fs::Root,
    tree::TreeReader,
};
use memchr::memmem;

use crate::{
    image::{EARLY, OURS, Platform, read},
    menu::FOLDER,
    prefix,
};

/// Where Fedora's images keep what belongs on an ESP, by the folder that it has there.
const BOOTUPD: &str = "usr/lib/bootupd/updates/EFI";
/// What leads to our configuration is some hundred bytes.
const STUB_LIMIT: u64 = 4 << 10;

/// The programs of a chain, out of a tree.
#[derive(Debug)]
pub struct Chain {
    shim: Vec<u8>,
    grub: Vec<u8>,
    /// shim's program for enrolling keys.
    manager: Option<Vec<u8>>,
    /// Where GRUB looks for its configuration (`EFI/debian`).
    folder: String,
}

/// Paths in a tree.
struct Paths {
    shim: String,
    grub: String,
    manager: String,
}

impl Chain {
    /// The chain that the tree has, if it has both programs.
    ///
    /// # Errors
    /// `InvalidInput` if its GRUB looks for its configuration where none can be; as reading fails.
    pub async fn find(tree: &dyn TreeReader, platform: &Platform) -> Result<Option<Self>> {
        for paths in places(tree, platform).await? {
            if let (Some(shim), Some(grub)) = (read(tree, &paths.shim).await?, read(tree, &paths.grub).await?)
            {
                let folder = prefix::folder(&grub)?;
                let manager = read(tree, &paths.manager).await?;
                return Ok(Some(Self { shim, grub, manager, folder }));
            }
        }
        Ok(None)
    }

    /// Puts the chain on the ESP, in our folder, and with `removable` also where firmware looks on a disk that it has not met.
    ///
    /// # Errors
    /// `Unsupported` if another system's configuration is where ours would have to be; as writing fails.
    ///
    /// # Crash
    /// Each program is there before what starts it.
    pub fn install(&self, context: &BootContext, removable: bool) -> Result<()> {
        lead_to_ours(&context.esp, &self.folder)?;
        // Ours comes last: what lies in the other folder is known to be ours by it.
        let fallback = removable.then(removable_path);
        for shim in fallback.into_iter().chain([shim_path()]) {
            let folder = shim.rsplit_once('/').map_or("", |(folder, _)| folder);
            if let Some(manager) = &self.manager {
                update(&context.esp, &format!("{folder}/mm{}.efi", efi_architecture()), manager)?;
            }
            update(&context.esp, &format!("{folder}/grub{}.efi", efi_architecture()), &self.grub)?;
            update(&context.esp, &shim, &self.shim)?;
        }
        Ok(())
    }

    /// The program that the firmware starts.
    pub fn shim(&self) -> &[u8] {
        &self.shim
    }
}

/// The name of shim in our folder.
pub fn shim_name() -> String {
    format!("shim{}.efi", efi_architecture())
}

/// Where that is.
pub fn shim_path() -> String {
    format!("{FOLDER}/{}", shim_name())
}

/// Writes a program, unless it is there.
///
/// # Errors
/// As writing fails.
pub fn update(esp: &Root, path: &str, program: &[u8]) -> Result<()> {
    if esp.read(path)?.as_deref() != Some(program) {
        place(esp, path, &mut &*program)?;
    }
    Ok(())
}

/// Debian's places, then Fedora's.
async fn places(tree: &dyn TreeReader, platform: &Platform) -> Result<Vec<Paths>> {
    let arch = efi_architecture();
    let mut found = vec![Paths {
        shim: format!("usr/lib/shim/shim{arch}.efi.signed"),
        grub: format!("usr/lib/grub/{}-signed/grub{arch}.efi.signed", platform.name),
        manager: format!("usr/lib/shim/mm{arch}.efi.signed"),
    }];
    for vendor in tree.list(BOOTUPD).await? {
        let at = |name: &str| format!("{BOOTUPD}/{vendor}/{name}{arch}.efi");
        found.push(Paths { shim: at("shim"), grub: at("grub"), manager: at("mm") });
    }
    Ok(found)
}

/// Whether a configuration in another folder is the one that leads to ours.
///
/// # Errors
/// As reading fails.
pub fn is_stub(esp: &Root, path: &str) -> Result<bool> {
    let small = esp.size_of(path)?.is_some_and(|size| size <= STUB_LIMIT);
    Ok(small && esp.read(path)?.is_some_and(|bytes| memmem::find(&bytes, OURS).is_some()))
}

fn lead_to_ours(esp: &Root, folder: &str) -> Result<()> {
    if folder.eq_ignore_ascii_case(FOLDER) {
        return Ok(());
    }
    let path = format!("{folder}/grub.cfg");
    if esp.exists(&path) && !is_stub(esp, &path)? {
        return Err(Error::unsupported(format!(
            "{path} on the ESP belongs to another system, and the image's signed GRUB would read it"
        ))
        .with_hint("give this system a disk of its own, or leave shim or the signed GRUB out of the image"));
    }
    let text = format!(
        "# Written by Bootwright: leads to its own configuration.\n{EARLY}source \"$prefix/grub.cfg\"\n"
    );
    update(esp, &path, text.as_bytes())
}
