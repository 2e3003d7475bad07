//! Variables without a firmware: none at all, or a store in memory for tests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::EfiVariables;
use crate::{
    error::{Error, IoContext, Result},
    fs::Faults,
};

/// The firmware of a machine that is not here: an install to another disk, or a machine that booted without UEFI.
#[derive(Debug, Clone, Copy, Default)]
pub struct AbsentVariables;

impl EfiVariables for AbsentVariables {
    fn available(&self) -> bool {
        false
    }

    fn read(&self, _vendor: &str, _name: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn write(&self, _vendor: &str, name: &str, _value: &[u8]) -> Result<()> {
        Err(Error::unsupported(format!("there is no firmware to write the EFI variable {name} to"))
            .with_hint("boot the machine in UEFI mode, with efivarfs mounted"))
    }

    fn delete(&self, _vendor: &str, _name: &str) -> Result<()> {
        Ok(())
    }

    fn list(&self, _vendor: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

type Values = BTreeMap<(String, String), Vec<u8>>;

/// Variables in memory. Each write is one mutation that fault injection sees.
#[derive(Debug, Default)]
pub struct MemoryVariables {
    values: Mutex<Values>,
    faults: Faults,
}

impl MemoryVariables {
    /// An empty store whose writes are counted by `faults`.
    pub fn new(faults: Faults) -> Self {
        Self { values: Mutex::default(), faults }
    }

    /// As the kernel's efivarfs, a change may be interrupted by a signal.
    fn change(&self, change: impl Fn(&mut Values)) -> Result<()> {
        let changed = self.faults.again(|| {
            change(&mut self.locked());
            Ok(())
        });
        changed.context_io(|| "change an EFI variable".to_owned())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(vendor: &str, name: &str) -> (String, String) {
    (vendor.to_owned(), name.to_owned())
}

impl EfiVariables for MemoryVariables {
    fn available(&self) -> bool {
        true
    }

    fn read(&self, vendor: &str, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.locked().get(&key(vendor, name)).cloned())
    }

    fn write(&self, vendor: &str, name: &str, value: &[u8]) -> Result<()> {
        self.faults.before(&format!("write EFI variable {name}"))?;
        self.change(|values| drop(values.insert(key(vendor, name), value.to_vec())))
    }

    fn delete(&self, vendor: &str, name: &str) -> Result<()> {
        self.faults.before(&format!("delete EFI variable {name}"))?;
        self.change(|values| drop(values.remove(&key(vendor, name))))
    }

    fn list(&self, vendor: &str) -> Result<Vec<String>> {
        Ok(self.locked().keys().filter(|(v, _)| v == vendor).map(|(_, name)| name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Fault;

    /// spec: BW-903
    #[test]
    fn a_signal_comes_to_the_variable_that_it_was_meant_for_and_does_not_make_it_fail() {
        let faults = Faults::fail_once(0, Fault::Signal);
        let variables = MemoryVariables::new(faults.clone());
        variables.write("v", "n", b"1").unwrap();
        assert_eq!(variables.read("v", "n").unwrap().unwrap(), b"1");
        faults.signal().unwrap();
        let faults = Faults::fail_once(0, Fault::Signal);
        MemoryVariables::new(faults.clone()).delete("v", "n").unwrap();
        faults.signal().unwrap();
    }
}
