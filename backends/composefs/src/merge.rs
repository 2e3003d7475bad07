//! The layers of an image, put together to one tree.
//!
//! As the library does it, but for two things. A layer may leave out the folders that its files are in, as some programs that make images do: they
//! are made then, with the metadata that other tools give them. And a whiteout is about lower layers only, wherever it stands in its own (OCI image
//! specification, "Whiteouts"): so all of a layer's come before its files.

use std::path::{Component, Path};

use anyhow::{Context as _, Result};
use bootwright_core::layers::WHITEOUT;
use composefs::{
    fsverity::FsVerityHashValue,
    generic_tree::OciTransformOptions,
    repository::Repository,
    tree::{Directory, FileSystem, Inode, Stat},
};
use composefs_oci::{
    LAYER_CONTENT_TYPE, OciImage,
    image::process_entry,
    tar::{TarEntry, get_entry},
};

/// Of a folder that no layer has.
const FOLDER_MODE: u32 = 0o755;

/// The tree of an image that is in the repository, `/boot` included.
///
/// # Errors
/// If an object is missing, or a layer cannot be applied to those before it.
pub(crate) fn image<H: FsVerityHashValue>(
    repo: &Repository<H>,
    image: &OciImage<H>,
) -> Result<FileSystem<H>> {
    let layer = |diff_id| image.layer_verity(diff_id).with_context(|| format!("the layer {diff_id}"));
    let ids: Vec<_> = image.layer_diff_ids().into_iter().map(layer).collect::<Result<_>>()?;
    layers(repo, ids)
}

/// The tree of layers, the lowest first, by the objects that hold them.
///
/// # Errors
/// As [`image`] has them.
pub(crate) fn layers<'a, H: FsVerityHashValue>(
    repo: &Repository<H>,
    layers: impl IntoIterator<Item = &'a H>,
) -> Result<FileSystem<H>> {
    let mut tree = FileSystem::new(Stat::uninitialized());
    for (number, id) in layers.into_iter().enumerate() {
        // Below the lowest one there is nothing to hide.
        if number > 0 {
            each_entry(repo, id, |entry| hide(&mut tree, entry))?;
        }
        each_entry(repo, id, |entry| add(&mut tree, entry))?;
    }
    tree.transform_for_oci(&OciTransformOptions::default())?;
    Ok(tree)
}

fn each_entry<H: FsVerityHashValue>(
    repo: &Repository<H>,
    layer: &H,
    mut take: impl FnMut(TarEntry<H>) -> Result<()>,
) -> Result<()> {
    let mut layer = repo.open_stream("", Some(layer), Some(LAYER_CONTENT_TYPE))?;
    while let Some(entry) = get_entry(&mut layer)? {
        take(entry)?;
    }
    Ok(())
}

/// Whether there is the folder that this is in; an error if something else is in its place.
fn has_folder_of<H: FsVerityHashValue>(tree: &FileSystem<H>, path: &Path) -> Result<bool> {
    Ok(tree.root.get_directory_opt(parent_of(path).as_os_str())?.is_some())
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Applies a whiteout to what lower layers have there. If that is no folder, this layer may put one in its place: [`add`] sees.
fn hide<H: FsVerityHashValue>(tree: &mut FileSystem<H>, entry: TarEntry<H>) -> Result<()> {
    if is_whiteout(&entry.path) && has_folder_of(tree, &entry.path).unwrap_or(false) {
        process_entry(tree, entry)?;
    }
    Ok(())
}

/// Applies everything but whiteouts, of which it refuses those in what is no folder.
fn add<H: FsVerityHashValue>(tree: &mut FileSystem<H>, entry: TarEntry<H>) -> Result<()> {
    match (has_folder_of(tree, &entry.path), is_whiteout(&entry.path)) {
        (Ok(_), true) => return Ok(()),
        (Ok(false), false) => make_folder(&mut tree.root, parent_of(&entry.path)),
        _ => {}
    }
    process_entry(tree, entry)
}

fn is_whiteout(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(WHITEOUT.as_bytes()))
}

/// Makes the folder with its parents, as far as that is possible: what is wrong with the name, the library will say.
fn make_folder<H: FsVerityHashValue>(root: &mut Directory<H>, path: &Path) {
    let mut at = root;
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => name,
            Component::RootDir => continue,
            _ => return,
        };
        if at.lookup(name).is_none() {
            at.insert(name, Inode::Directory(Box::new(Directory::new(folder_stat()))));
        }
        let Ok(next) = at.get_directory_mut(name) else { return };
        at = next;
    }
}

fn folder_stat() -> Stat {
    Stat { st_mode: FOLDER_MODE, ..Stat::uninitialized() }
}
