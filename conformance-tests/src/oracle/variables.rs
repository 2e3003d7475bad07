//! Firmware variables of a machine that is not real.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bootwright_core::{IoContext as _, Result, efi::EfiVariables, fs::Faults};

/// Vendor of the variables that the UEFI specification defines.
pub const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Vendor of the boot loader interface.
pub const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Vendor of Bootwright's own.
pub const OURS: &str = "b0077269-6874-4c6f-9e1d-2a8a5d1f3c41";

type Values = BTreeMap<(String, String), Vec<u8>>;

/// Text as firmware has it: UTF-16, with a zero at its end.
pub(super) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A store in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Variables(Arc<Mutex<Values>>);

impl Variables {
    fn locked(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store with these values.
    pub fn from_values(values: BTreeMap<(String, String), Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(values)))
    }

    /// A value.
    pub fn get(&self, vendor: &str, name: &str) -> Option<Vec<u8>> {
        self.locked().get(&(vendor.to_owned(), name.to_owned())).cloned()
    }

    /// Sets a text, as loaders do.
    pub fn set_text(&self, vendor: &str, name: &str, text: &str) {
        self.set(vendor, name, Some(wide(text)));
    }

    /// Sets a value, or with `None` deletes it.
    pub fn set(&self, vendor: &str, name: &str, value: Option<Vec<u8>>) {
        let key = (vendor.to_owned(), name.to_owned());
        match value {
            Some(value) => self.locked().insert(key, value),
            None => self.locked().remove(&key),
        };
    }

    /// A list of 16-bit numbers (`BootOrder`, `BootNext`).
    pub fn numbers(&self, name: &str) -> Vec<u16> {
        let bytes = self.get(GLOBAL, name).unwrap_or_default();
        bytes.chunks_exact(2).filter_map(|two| Some(u16::from_le_bytes(two.try_into().ok()?))).collect()
    }

    /// Everything, for comparing and restoring.
    pub fn all(&self) -> BTreeMap<(String, String), Vec<u8>> {
        self.locked().clone()
    }

    /// Back to what [`Variables::all`] returned.
    pub fn replace(&self, all: &BTreeMap<(String, String), Vec<u8>>) {
        self.locked().clone_from(all);
    }

    /// As plugins see them: every write is counted by `faults`.
    pub fn counted(&self, faults: &Faults) -> Arc<dyn EfiVariables> {
        Arc::new(Counted(self.clone(), faults.clone()))
    }
}

#[derive(Debug)]
struct Counted(Variables, Faults);

impl Counted {
    /// As the kernel's efivarfs, a change may be interrupted by a signal.
    fn change(&self, vendor: &str, name: &str, value: Option<&[u8]>) -> Result<()> {
        let changed = self.1.again(|| {
            self.0.set(vendor, name, value.map(<[u8]>::to_vec));
            Ok(())
        });
        changed.context_io(|| format!("change EFI variable {name}"))
    }
}

impl EfiVariables for Counted {
    fn available(&self) -> bool {
        true
    }

    fn read(&self, vendor: &str, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(vendor, name))
    }

    fn write(&self, vendor: &str, name: &str, value: &[u8]) -> Result<()> {
        self.1.before(&format!("write EFI variable {name}"))?;
        self.change(vendor, name, Some(value))
    }

    fn delete(&self, vendor: &str, name: &str) -> Result<()> {
        self.1.before(&format!("delete EFI variable {name}"))?;
        self.change(vendor, name, None)
    }

    fn list(&self, vendor: &str) -> Result<Vec<String>> {
        Ok(self.0.locked().keys().filter(|(v, _)| v == vendor).map(|(_, name)| name.clone()).collect())
    }
}
