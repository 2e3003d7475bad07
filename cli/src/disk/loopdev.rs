//! Loop devices that cannot be left behind.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use bootwright_core::{Error, IoContext, Result};

use super::tool::tool;

/// A part of a file as a block device, for as long as the value lives.
///
/// The device is told to detach right after it was attached, while we hold it open: the kernel then detaches it when the
/// last user closes it (loop driver, `LO_FLAGS_AUTOCLEAR`), also if this process is killed.
#[derive(Debug)]
pub struct LoopDevice {
    node: PathBuf,
    handle: File,
}

impl LoopDevice {
    /// Attaches `size` bytes of `file` from `offset`.
    ///
    /// # Errors
    /// `Busy` or `Io` if no loop device can be had.
    pub fn attach(file: &Path, offset: u64, size: u64) -> Result<Self> {
        let printed = tool("losetup")
            .args(["--find", "--show"])
            .arg(format!("--offset={offset}"))
            .arg(format!("--sizelimit={size}"))
            .arg(file)
            .run_blocking()
            .map_err(|error| {
                Error::new(error.kind(), format!("no loop device could be had for {}", file.display()))
                    .with_source(error)
                    .with_hint("in a container, it must be allowed to use /dev/loop-control and /dev/loop*")
            })?;
        let node = PathBuf::from(printed.text().trim());
        let opened = File::open(&node).context_io(|| format!("open {}", node.display()));
        // In every case: with the handle it marks the device, without it it detaches it.
        let marked = tool("losetup").arg("--detach").arg(&node).run_blocking();
        let handle = opened?;
        marked?;
        Ok(Self { node, handle })
    }

    /// The device node.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// Makes what was written through it durable in the file below.
    ///
    /// # Errors
    /// As the system says.
    pub fn sync(&self) -> Result<()> {
        self.handle.sync_all().context_io(|| format!("sync {}", self.node.display()))
    }
}
