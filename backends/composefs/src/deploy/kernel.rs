//! Which kernel an image boots with.

use bootwright_core::{
    error::Result,
    image_kernel::{self, ImageFile, ImageFiles},
    model::KernelArtifacts,
};
use composefs::{fsverity::FsVerityHashValue, tree::FileSystem};

use super::blob;
use crate::{
    origin::BootType,
    tree::{Objects, file, names},
};

/// The kernel of an image.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its files.
    pub artifacts: KernelArtifacts,
    /// How it is packed.
    pub boot_type: BootType,
    /// SHA-256 over kernel and initrd, in hex: the key `digest` of bootc's origin files.
    pub digest: String,
}

/// Finds the kernel in a tree whose `/boot` is still there.
///
/// # Errors
/// `InvalidInput` if there is none or more than one.
pub(crate) fn find<H: FsVerityHashValue>(tree: &FileSystem<H>, objects: &Objects) -> Result<Kernel> {
    let found = image_kernel::find(&Files { tree, objects })?;
    let boot_type = match found.artifacts {
        KernelArtifacts::Split { .. } => BootType::Split,
        KernelArtifacts::Unified { .. } => BootType::Unified,
    };
    Ok(Kernel { artifacts: found.artifacts, boot_type, digest: found.digest })
}

struct Files<'a, H: FsVerityHashValue> {
    tree: &'a FileSystem<H>,
    objects: &'a Objects,
}

impl<H: FsVerityHashValue> ImageFiles for Files<'_, H> {
    fn names(&self, folder: &str) -> Result<Vec<String>> {
        Ok(names(self.tree, folder))
    }

    fn is_file(&self, path: &str) -> Result<bool> {
        Ok(file(self.tree, path).is_some())
    }

    fn open(&self, path: &str) -> Result<Option<ImageFile>> {
        let Some(file) = file(self.tree, path) else { return Ok(None) };
        let (key, reader) = (blob::key(file)?, self.objects.reader(file)?);
        Ok(Some(ImageFile { key, size: file.file_size(), reader }))
    }
}
