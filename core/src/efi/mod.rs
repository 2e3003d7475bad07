//! EFI variables: the interface that bootloaders use, the kernel's efivarfs behind it, and a store in memory for tests.

mod efivarfs;
pub mod load_option;
mod memory;
mod register;

pub use efivarfs::EfivarFs;
pub use memory::{AbsentVariables, MemoryVariables};
pub use register::register;

use std::fmt::Debug;

use crate::error::Result;

/// Vendor GUID of the variables that the UEFI specification defines (section 3.3, "Globally Defined Variables").
pub const GLOBAL_VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Vendor GUID of the boot loader interface (systemd, "The Boot Loader Interface").
pub const LOADER_VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Vendor GUID of our own variables.
pub const OUR_VENDOR: &str = "b0077269-6874-4c6f-9e1d-2a8a5d1f3c41";
/// Ours, while a deployment is on trial with a bootloader that cannot count its starts by itself: early in every boot that finds it,
/// [`Bootloader::try_again`](crate::Bootloader::try_again) is called. Its value is the bootloader's own business.
pub const TRIAL: &str = "BootwrightTrial";

/// Whether the firmware checks the signatures of what it starts (UEFI specification, section 3.3, `SecureBoot`).
///
/// # Errors
/// As reading the variable fails.
pub fn secure_boot(efi: &dyn EfiVariables) -> Result<bool> {
    Ok(efi.read(GLOBAL_VENDOR, "SecureBoot")?.as_deref() == Some(&[1]))
}

/// The text in a variable, which is UTF-16 up to a zero. Whatever is malformed is replaced.
///
/// # Errors
/// As reading the variable fails.
pub fn read_text(efi: &dyn EfiVariables, vendor: &str, name: &str) -> Result<Option<String>> {
    let Some(bytes) = efi.read(vendor, name)? else { return Ok(None) };
    let units = bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
    let units: Vec<_> = units.take_while(|&unit| unit != 0).collect();
    Ok(Some(String::from_utf16_lossy(&units)))
}

/// Variables of one machine's firmware.
///
/// Names are without their vendor suffix; values are without the four bytes of attributes.
pub trait EfiVariables: Debug + Send + Sync {
    /// Whether there is a firmware to talk to. If not, reads find nothing and writes are `Unsupported`.
    fn available(&self) -> bool;

    /// The value of a variable, or `None` if it does not exist.
    fn read(&self, vendor: &str, name: &str) -> Result<Option<Vec<u8>>>;

    /// Creates or replaces a non-volatile variable that boot services and the running system can read.
    ///
    /// # Crash
    /// The firmware replaces a variable wholly or not at all (UEFI specification, section 8.2, `SetVariable`).
    fn write(&self, vendor: &str, name: &str, value: &[u8]) -> Result<()>;

    /// Deletes a variable; it is no error if it does not exist.
    fn delete(&self, vendor: &str, name: &str) -> Result<()>;

    /// Names of all variables of this vendor, sorted.
    fn list(&self, vendor: &str) -> Result<Vec<String>>;
}
