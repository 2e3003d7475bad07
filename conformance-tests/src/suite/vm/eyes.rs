//! What firmware and loader would read on a running machine, brought to the host for the [`oracle`], and changed as other
//! systems on the same machine change it.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    mailbox::{Mailbox, add_bytes},
    scripts,
};
use crate::{
    lifecycle::{Guest, OfflineDisk},
    oracle::{self, Variables},
    vm::Disk,
};

/// Size in bytes; sparse on the host. GRUB may have its kernels in the boot folder.
const SIZE: u64 = 1 << 29;
/// Attributes of boot variables: non-volatile, for boot and run time (UEFI specification, section 8.2.1).
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
/// Where files for the guest arrive.
const ARRIVED: &str = "/run/bootwright-suite-arrived";

/// The machine's own disk, from which the host reads the ESP, and one more: the guest writes there what is on no FAT.
#[derive(Debug)]
pub struct Eyes {
    machine: PathBuf,
    file: PathBuf,
}

/// Boot files and variables of a moment.
#[derive(Debug)]
pub struct Look {
    folder: tempfile::TempDir,
    variables: Variables,
    esp_guid: [u8; 16],
}

impl Eyes {
    /// Makes the second disk, for a machine with this raw disk.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn make(file: PathBuf, machine: PathBuf) -> Result<Self> {
        File::create(&file).and_then(|made| made.set_len(SIZE)).context("make the disk for looking")?;
        Ok(Self { machine, file })
    }

    /// To be attached as the third disk of the machine: [`Eyes::DEVICE`].
    pub fn disk(&self) -> Disk {
        Disk::raw(&self.file)
    }

    /// Where the guest finds it.
    const DEVICE: &'static str = "/dev/disk/by-id/virtio-disk2";

    /// Takes a look.
    ///
    /// # Errors
    /// When the guest does not answer, what it wrote is no archive, or its disk has no ESP.
    pub fn look(&self, guest: &mut Guest) -> Result<Look> {
        scripts::boot_files(guest, Self::DEVICE)?;
        let folder = tempfile::tempdir_in(self.file.parent().context("a folder")?)?;
        let mut archive = tar::Archive::new(File::open(&self.file)?);
        archive.set_preserve_mtime(false);
        archive.unpack(folder.path()).context("unpack the boot files of the machine")?;
        let variables = read_variables(&folder.path().join("variables"))?;
        let (disk, esp) = (OfflineDisk::open(&self.machine)?, folder.path().join("esp"));
        std::fs::create_dir(&esp)?;
        disk.copy_esp(&esp)?;
        Ok(Look { folder, variables, esp_guid: disk.esp_guid()? })
    }
}

impl Look {
    /// For the oracle.
    pub fn disk(&self) -> oracle::Disk {
        let (esp, sysroot) = (self.folder.path().join("esp"), self.folder.path().join("root"));
        oracle::Disk { esp, sysroot, esp_guid: self.esp_guid, variables: self.variables.clone() }
    }

    /// Changes the machine as `change` changes the copy on the host: files of the ESP, and variables.
    ///
    /// # Errors
    /// When the change fails, or the guest cannot take it over.
    pub fn change<T>(
        &self,
        guest: &mut Guest,
        mailbox: &Mailbox,
        change: impl FnOnce(&oracle::Disk) -> Result<T>,
    ) -> Result<T> {
        let disk = self.disk();
        let (files, variables) = (contents(&disk.esp)?, disk.variables.all());
        let result = change(&disk)?;
        let changed = contents(&disk.esp)?.into_iter().filter(|(path, text)| files.get(path) != Some(text));
        let set = disk.variables.all().into_iter().filter(|(name, value)| variables.get(name) != Some(value));
        mailbox.send(guest, ARRIVED, |tar| {
            for (path, text) in changed {
                add_bytes(tar, &Path::new("esp").join(path), &text)?;
            }
            for ((vendor, name), value) in set {
                let bytes = [ATTRIBUTES.as_slice(), &value].concat();
                add_bytes(tar, &Path::new("variables").join(format!("{name}-{vendor}")), &bytes)?;
            }
            Ok(())
        })?;
        scripts::bring(guest, ARRIVED)?;
        Ok(result)
    }
}

/// Small files below a folder, by path: what a fixture writes is small, and kernels need no comparing.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    const SMALL: u64 = 1 << 20;
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                left.push(path);
            } else if metadata.len() <= SMALL {
                found.insert(path.strip_prefix(folder)?.to_owned(), std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Files of efivarfs: `<name>-<vendor>`, four bytes of attributes and the value.
fn read_variables(folder: &Path) -> Result<Variables> {
    let variables = Variables::default();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(variables) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let parts = name.len().checked_sub(37).and_then(|at| name.split_at_checked(at));
        let Some((name, vendor)) = parts else { continue };
        let bytes = std::fs::read(entry.path())?;
        let value = bytes.get(4..).map(<[u8]>::to_vec);
        variables.set(vendor.trim_start_matches('-'), name, value);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_file_of_attributes_and_value() {
        let folder = tempfile::tempdir().unwrap();
        let name = "BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c";
        std::fs::write(folder.path().join(name), [7, 0, 0, 0, 1, 0]).unwrap();
        std::fs::write(folder.path().join("short"), [7]).unwrap();
        assert_eq!(read_variables(folder.path()).unwrap().numbers("BootOrder"), [1]);
    }
}
