//! The way in for fuzz targets: an image layout in memory.

use std::{collections::BTreeMap, io::Cursor};

use super::{
    layout::{Files, Layout},
    source,
};
use crate::{
    error::Result,
    model::{ImageReference, ImageSummary},
    tree::Reader,
};

/// The files of a layout by name, with `/` between folders.
type Memory = BTreeMap<String, Vec<u8>>;

impl Files for Memory {
    fn open(&self, name: &str) -> Result<Option<Reader>> {
        Ok(self.get(name).map(|bytes| Box::new(Cursor::new(bytes.clone())) as Reader))
    }
}

/// Looks up the image with this tag, as [`inspect`](super::inspect) does in a folder.
///
/// # Errors
/// Those of [`inspect`](super::inspect).
pub fn inspect_files(
    files: &Memory,
    tag: Option<&str>,
    reference: &ImageReference,
    architecture: &str,
) -> Result<ImageSummary> {
    let layout = Layout { files, label: "memory", tag };
    source::inspect(&layout, reference, architecture)
}
