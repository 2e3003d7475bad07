//! Disks of a virtual machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::host;

/// A disk to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disk {
    /// Writes go to an overlay in the machine's folder; the raw image below stays as it is.
    Overlay(PathBuf),
    /// A raw copy in the machine's folder is written: [`super::Vm::disk_file`] can be mounted, or damaged, while
    /// the machine is off.
    Copy(PathBuf),
    /// The raw image itself is written.
    Raw(PathBuf),
    /// The raw image, write-protected.
    ReadOnly(PathBuf),
    /// A write-protected ext4 with this label, made from the contents of a folder of the host.
    Folder {
        /// File system label, at most 16 bytes; also the serial number of the disk.
        label: String,
        /// The folder.
        path: PathBuf,
    },
}

impl Disk {
    /// A disk whose writes leave the raw image `base` alone.
    pub fn overlay(base: impl Into<PathBuf>) -> Self {
        Self::Overlay(base.into())
    }

    /// A disk that is a raw copy of `base`.
    pub fn copy(base: impl Into<PathBuf>) -> Self {
        Self::Copy(base.into())
    }

    /// A raw image that the guest writes.
    pub fn raw(image: impl Into<PathBuf>) -> Self {
        Self::Raw(image.into())
    }

    /// A folder of the host as a read-only disk; the guest finds it by its label.
    pub fn folder(label: &str, path: impl Into<PathBuf>) -> Self {
        Self::Folder { label: label.to_owned(), path: path.into() }
    }

    /// Makes what the disk needs in the machine's folder `dir`. `index` is its place among the disks.
    pub(super) fn prepare(&self, dir: &Path, index: usize) -> Result<Drive> {
        let drive = |file: &Path, format, read_only| Drive {
            file: file.into(),
            format,
            read_only,
            serial: serial(index),
        };
        match self {
            Self::Raw(image) => Ok(drive(&absolute(image)?, "raw", false)),
            Self::ReadOnly(image) => Ok(drive(&absolute(image)?, "raw", true)),
            Self::Overlay(base) => {
                let file = dir.join(format!("disk{index}.qcow2"));
                make_overlay(&absolute(base)?, &file)?;
                Ok(drive(&file, "qcow2", false))
            }
            Self::Copy(base) => {
                let file = dir.join(format!("disk{index}.img"));
                let mut command = host::command("cp");
                command.args(["--reflink=auto", "--sparse=always"]).arg(absolute(base)?).arg(&file);
                host::run(&mut command)?;
                Ok(drive(&file, "raw", false))
            }
            Self::Folder { label, path } => {
                let file = dir.join(format!("{label}.ext4"));
                make_folder_image(label, path, &file)?;
                Ok(Drive { serial: label.clone(), ..drive(&file, "raw", true) })
            }
        }
    }
}

/// A disk as QEMU is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drive {
    pub file: PathBuf,
    pub format: &'static str,
    pub read_only: bool,
    /// Serial number: the guest has the disk as `/dev/disk/by-id/virtio-<serial>`.
    pub serial: String,
}

fn serial(index: usize) -> String {
    format!("disk{index}")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("there is no disk image {}", path.display()))
}

fn make_overlay(base: &Path, overlay: &Path) -> Result<()> {
    let mut command = host::command("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(base).arg(overlay);
    host::run(&mut command).map(drop)
}

/// Writes the contents of `folder` into a file system image just large enough for it.
fn make_folder_image(label: &str, folder: &Path, image: &Path) -> Result<()> {
    ensure!(!label.is_empty() && label.len() <= 16, "{label:?} is not a label of 1 to 16 bytes");
    let (bytes, files) = usage(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    // A block's worth of slack per file, an inode each, and room for the tables of the file system.
    let size = bytes + files * 8192 + bytes / 16 + (4 << 20);
    fs::File::create(image)?.set_len(size)?;
    let mut command = host::command("mke2fs");
    command.args(["-q", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal", "-N"]);
    command.arg((files + 64).to_string()).args(["-L", label, "-d"]).arg(folder).arg(image);
    host::run(&mut command).map(drop)
}

/// Bytes and number of files below `folder`.
fn usage(folder: &Path) -> io::Result<(u64, u64)> {
    let mut total = (0, 1);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found =
            if entry.file_type()?.is_dir() { usage(&entry.path())? } else { (entry.metadata()?.len(), 1) };
        total = (total.0 + found.0, total.1 + found.1);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_an_image_that_holds_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::write(source.join("sub/file"), vec![7; 3 << 20]).unwrap();
        let drive = Disk::folder("images", &source).prepare(folder.path(), 1).unwrap();
        assert!(drive.read_only);
        assert_eq!(drive.serial, "images");
        let mut debugfs = host::command("debugfs");
        debugfs.args(["-R", "stat /sub/file"]).arg(&drive.file);
        let said = String::from_utf8(host::run(&mut debugfs).unwrap()).unwrap();
        assert!(said.contains(&format!("Size: {}", 3 << 20)), "{said}");
    }

    #[test]
    fn an_overlay_leaves_its_base_alone() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.img");
        fs::write(&base, vec![0; 1 << 20]).unwrap();
        let drive = Disk::overlay(&base).prepare(folder.path(), 0).unwrap();
        assert_ne!(drive.file, base);
        assert_eq!((drive.format, drive.read_only), ("qcow2", false));
    }

    #[test]
    fn a_copy_has_the_bytes_of_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.img");
        fs::write(&base, [vec![0; 1 << 20], vec![7; 10]].concat()).unwrap();
        let drive = Disk::copy(&base).prepare(folder.path(), 0).unwrap();
        assert_eq!((drive.format, drive.read_only), ("raw", false));
        assert_eq!(fs::read(&drive.file).unwrap(), fs::read(&base).unwrap());
    }

    #[test]
    fn a_missing_image_is_named() {
        let error = Disk::raw("/no/such/disk").prepare(Path::new("/"), 0).unwrap_err();
        assert!(error.to_string().contains("/no/such/disk"));
    }

    #[test]
    fn a_label_that_ext4_would_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Disk::folder("a-label-of-17-byt", folder.path()).prepare(folder.path(), 0).is_err());
    }
}
