//! What a machine finds around it: a folder of images that upgrades come from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{images::OciImage, vm::Vm};

/// Label of the disk with the images.
pub const IMAGES_LABEL: &str = "images";
/// The reference that installed systems follow; a link in the guest decides which image it is.
pub const ORIGIN: &str = "oci:/var/lib/images/current:latest";
/// The annotation that names an image in a layout (OCI image specification, "Annotations").
const NAME: &str = "org.opencontainers.image.ref.name";

/// A folder with one OCI layout per image, each holding it under the tag `latest`.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
}

impl Site {
    /// Makes the folder `folder` with `images`, by their names. Blobs are hard links: it costs no room on the same file system.
    ///
    /// # Errors
    /// When a layout cannot be read or linked.
    pub fn make(folder: &Path, images: &[(&str, &OciImage)]) -> Result<Self> {
        for (name, image) in images {
            let target = folder.join(name);
            link_tree(image.layout(), &target).with_context(|| format!("link the layout of {name}"))?;
            retag(&target)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The layout of an image, where a machine has the folder mounted.
    pub(super) fn layout_in_guest(name: &str) -> String {
        format!("{}/{name}", Vm::folder_in_guest(IMAGES_LABEL))
    }

    /// How such a machine refers to that image.
    pub fn in_guest(name: &str) -> String {
        format!("oci:{}:latest", Self::layout_in_guest(name))
    }

    /// The folder, to be attached under [`IMAGES_LABEL`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn link_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_tree(&entry.path(), &target)?;
        } else if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Names the one image of a layout `latest`.
fn retag(layout: &Path) -> Result<()> {
    let path = layout.join("index.json");
    let index = retagged(&fs::read(&path)?)?;
    // The file is a hard link: replaced, not written through.
    fs::remove_file(&path)?;
    fs::write(&path, index)?;
    Ok(())
}

/// The `index.json` of a layout with its one image named `latest`.
///
/// # Errors
/// When it is not an index.
pub fn retagged(index: &[u8]) -> Result<Vec<u8>> {
    let mut index: serde_json::Value = serde_json::from_slice(index)?;
    let manifests = index.get_mut("manifests").and_then(serde_json::Value::as_array_mut);
    for manifest in manifests.context("an index without manifests")? {
        if let Some(manifest) = manifest.as_object_mut() {
            let annotations = manifest.entry("annotations").or_insert_with(|| serde_json::json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(NAME.to_owned(), "latest".into());
            }
        }
    }
    Ok(serde_json::to_vec(&index)?)
}
