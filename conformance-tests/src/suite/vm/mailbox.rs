//! Brings files into a running machine: a raw disk that the host writes and the guest reads past its cache.

use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{lifecycle::Guest, vm::Disk};

/// Size in bytes; sparse on the host. An image with a unified kernel takes some 50 MiB.
const SIZE: u64 = 512 << 20;
/// What the guest reads at once; a direct read is of whole blocks.
const CHUNK: u64 = 1 << 20;

/// The disk.
#[derive(Debug)]
pub struct Mailbox {
    file: PathBuf,
}

impl Mailbox {
    /// Makes an empty one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn make(file: PathBuf) -> Result<Self> {
        File::create(&file).and_then(|made| made.set_len(SIZE)).context("make the mailbox")?;
        Ok(Self { file })
    }

    /// To be attached as the second disk of the machine: [`Mailbox::DEVICE`].
    pub fn disk(&self) -> Disk {
        Disk::ReadOnly(self.file.clone())
    }

    /// Where the guest finds it.
    const DEVICE: &'static str = "/dev/disk/by-id/virtio-disk1";

    /// Unpacks what `fill` writes as a tar archive into the folder `target` of the guest, which is emptied first.
    ///
    /// # Errors
    /// When the archive is too large, or the guest cannot unpack it.
    pub fn send(
        &self,
        guest: &mut Guest,
        target: &str,
        fill: impl FnOnce(&mut tar::Builder<&mut File>) -> Result<()>,
    ) -> Result<()> {
        let chunks = self.write(fill)?.div_ceil(CHUNK);
        guest.sh(&format!(
            "set -e; rm -rf {target}; mkdir -p {target}; \
             dd if={} iflag=direct bs={CHUNK} count={chunks} status=none | tar -x -C {target}",
            Self::DEVICE
        ))?;
        Ok(())
    }

    fn write(&self, fill: impl FnOnce(&mut tar::Builder<&mut File>) -> Result<()>) -> Result<u64> {
        let mut disk = OpenOptions::new().write(true).open(&self.file)?;
        disk.seek(SeekFrom::Start(0))?;
        let mut tar = tar::Builder::new(&mut disk);
        fill(&mut tar)?;
        tar.finish()?;
        drop(tar);
        disk.flush()?;
        let length = disk.stream_position()?;
        anyhow::ensure!(length <= SIZE, "{length} bytes do not fit into the mailbox");
        Ok(length)
    }
}

/// Adds the file `path` of the host as `name`.
///
/// # Errors
/// When it cannot be read.
pub fn add(tar: &mut tar::Builder<&mut File>, path: &Path, name: &str) -> Result<()> {
    tar.append_path_with_name(path, name).with_context(|| format!("send {}", path.display()))
}

/// Adds a file with these bytes.
///
/// # Errors
/// When the archive cannot be written.
pub fn add_bytes(tar: &mut tar::Builder<&mut File>, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    Ok(tar.append_data(&mut header, path, bytes)?)
}
