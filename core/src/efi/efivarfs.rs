//! The kernel's efivarfs.
//!
//! Unlike files on a disk, its files are read, written and removed under locks that a signal interrupts (Linux, `fs/efivarfs/vars.c` and `file.c`,
//! `down_interruptible`; `EINTR`), and reading may be put off by a limit that a signal ends. So every call is made again then.

use std::{io::Write, path::PathBuf};

use cap_std::{ambient_authority, fs::Dir};

use super::EfiVariables;
use crate::{
    error::{Error, IoContext, Result},
    fs::{Faults, again},
};

/// Non-volatile, boot service access, runtime access (UEFI specification, section 8.2, variable attributes).
const ATTRIBUTES: u32 = 0x7;
/// Inode flag "immutable" (linux/fs.h, `FS_IMMUTABLE_FL`): efivarfs sets it on variables it does not know
/// (kernel, Documentation/filesystems/efivarfs.rst).
const IMMUTABLE: rustix::fs::IFlags = rustix::fs::IFlags::IMMUTABLE;

/// Variables of the firmware of this machine.
#[derive(Debug)]
pub struct EfivarFs {
    dir: Dir,
    path: PathBuf,
    faults: Faults,
}

impl EfivarFs {
    /// Opens efivarfs where the system mounts it.
    ///
    /// # Errors
    /// `Unsupported` if it is not there: the machine did not start by UEFI, or efivarfs is not mounted.
    pub fn open() -> Result<Self> {
        Self::open_at("/sys/firmware/efi/efivars")
    }

    /// Opens it at `path`.
    ///
    /// # Errors
    /// As [`EfivarFs::open`].
    pub fn open_at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let absent = |source: std::io::Error| {
            Error::unsupported(format!("no EFI variables at {}", path.display()))
                .with_source(source)
                .with_hint("boot the machine in UEFI mode, with efivarfs mounted")
        };
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).map_err(absent)?;
        // The kernel makes the mount point even where nothing is mounted on it.
        if dir.entries().map_err(absent)?.next().is_none() {
            return Err(absent(std::io::ErrorKind::NotFound.into()));
        }
        Ok(Self { dir, path, faults: Faults::none() })
    }

    /// The same, with changes that may fail.
    #[cfg(test)]
    fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Lifts the immutable flag of a variable, if it has one.
    fn unlock(&self, file: &str) -> Result<()> {
        let Ok(handle) = again(|| self.dir.open(file)) else { return Ok(()) };
        let what = || format!("make EFI variable {file} writable");
        let flags = rustix::fs::ioctl_getflags(&handle).context_io(what)?;
        if flags.contains(IMMUTABLE) {
            rustix::fs::ioctl_setflags(&handle, flags & !IMMUTABLE).context_io(what)?;
        }
        Ok(())
    }
}

fn file_name(vendor: &str, name: &str) -> String {
    format!("{name}-{vendor}")
}

impl EfiVariables for EfivarFs {
    fn available(&self) -> bool {
        true
    }

    fn read(&self, vendor: &str, name: &str) -> Result<Option<Vec<u8>>> {
        match again(|| self.dir.read(file_name(vendor, name))) {
            Ok(bytes) => Ok(bytes.get(4..).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("read EFI variable {name}"), error)),
        }
    }

    fn write(&self, vendor: &str, name: &str, value: &[u8]) -> Result<()> {
        let file = file_name(vendor, name);
        if self.read(vendor, name)?.as_deref() == Some(value) {
            // Flash wears out; and a firmware may collect garbage on a write.
            return Ok(());
        }
        self.faults.before(&format!("write EFI variable {name}"))?;
        self.unlock(&file)?;
        let mut data = ATTRIBUTES.to_le_bytes().to_vec();
        data.extend_from_slice(value);
        let what = || format!("write EFI variable {name} in {}", self.path.display());
        // One write call is one SetVariable call.
        let mut options = cap_std::fs::OpenOptions::new();
        options.write(true).create(true);
        let mut handle = again(|| self.dir.open_with(&file, &options)).context_io(what)?;
        let written = self.faults.again(|| handle.write(&data)).context_io(what)?;
        if written == data.len() {
            Ok(())
        } else {
            Err(Error::new(crate::ErrorKind::Io, format!("{}: short write", what())))
        }
    }

    fn delete(&self, vendor: &str, name: &str) -> Result<()> {
        let file = file_name(vendor, name);
        self.faults.before(&format!("delete EFI variable {name}"))?;
        self.unlock(&file)?;
        match self.faults.again(|| self.dir.remove_file(&file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("delete EFI variable {name}"), error))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, vendor: &str) -> Result<Vec<String>> {
        let suffix = format!("-{vendor}");
        let what = || format!("list {}", self.path.display());
        let mut names = Vec::new();
        for entry in self.dir.entries().context_io(what)? {
            let file = entry.context_io(what)?.file_name();
            names.extend(file.to_str().and_then(|f| f.strip_suffix(&suffix)).map(ToOwned::to_owned));
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, fs::Fault};

    /// A plain folder with one variable, in the place of the kernel's file system.
    fn variables(faults: Faults) -> (tempfile::TempDir, EfivarFs) {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::write(folder.path().join("Old-vendor"), b"\x07\0\0\0was").unwrap();
        let variables = EfivarFs::open_at(folder.path()).unwrap().with_faults(faults);
        (folder, variables)
    }

    /// spec: BW-903
    #[test]
    fn a_signal_does_not_make_a_change_of_a_variable_fail() {
        let (_folder, efi) = variables(Faults::fail_once(0, Fault::Signal));
        efi.write("vendor", "Old", b"new").unwrap();
        assert_eq!(efi.read("vendor", "Old").unwrap().unwrap(), b"new");
        let (_folder, efi) = variables(Faults::fail_once(0, Fault::Signal));
        efi.delete("vendor", "Old").unwrap();
        assert_eq!(efi.list("vendor").unwrap(), [""; 0]);
    }

    /// spec: BW-903
    #[test]
    fn a_variable_that_cannot_be_changed_is_reported_and_stays() {
        let full = || variables(Faults::fail_once(0, Fault::NoSpace));
        let (_folder, efi) = full();
        assert_eq!(efi.write("vendor", "Old", b"new").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(efi.read("vendor", "Old").unwrap().unwrap(), b"was");
        let (_folder, efi) = full();
        assert_eq!(efi.delete("vendor", "Old").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(efi.list("vendor").unwrap(), ["Old"]);
    }
}
