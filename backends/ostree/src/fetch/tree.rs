//! The merged tree of an image, in memory: layers are applied to it one after the other.
//!
//! No name is ever followed through a symbolic link: what lies behind one depends on who looks, and a layer could reach places that its
//! names do not show.

use std::collections::{BTreeMap, BTreeSet};

use bootwright_core::error::{Error, Result};

use super::{
    entry::{Change, Entry, Meta, ObjectId},
    path::TreePath,
};

/// A folder, or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Folder(Folder),
    File(ObjectId),
}

/// A folder with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Folder {
    /// `None` if no layer has said anything of it yet.
    pub(super) meta: Option<Meta>,
    pub(super) children: BTreeMap<String, Node>,
}

impl Folder {
    /// Applies a layer.
    ///
    /// Whiteouts are about lower layers only, wherever they stand in the layer; so they come first.
    ///
    /// # Errors
    /// `InvalidInput` for a name below something that is not a folder, and for a hard link to something that is not a file.
    pub(super) fn apply(&mut self, layer: &[Entry]) -> Result<()> {
        let replaced = folders_of(layer);
        for entry in layer {
            match &entry.change {
                Change::Remove => self.white_out(&entry.path, &replaced)?,
                Change::Empty => self.make_opaque(&entry.path, &replaced)?,
                _ => {}
            }
        }
        for entry in layer {
            match &entry.change {
                Change::Folder(meta) => self.put_folder(&entry.path, meta)?,
                Change::File(object) => self.put(&entry.path, Node::File(object.clone()))?,
                Change::Link(target) => {
                    let object = self.linked(&entry.path, target)?;
                    self.put(&entry.path, Node::File(object))?;
                }
                Change::LeftOut => {
                    let (parent, name) = self.parent_of(&entry.path)?;
                    parent.children.remove(&name);
                }
                Change::Remove | Change::Empty => {}
            }
        }
        Ok(())
    }

    /// The child folder of this name, if it is one.
    pub(super) fn folder_mut(&mut self, name: &str) -> Option<&mut Folder> {
        match self.children.get_mut(name) {
            Some(Node::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    /// What has this path, without following symbolic links.
    pub(super) fn find(&self, path: &TreePath) -> Option<Found<'_>> {
        let mut at = Found::Folder(self);
        for part in path.parts() {
            let Found::Folder(folder) = at else { return None };
            at = match folder.children.get(part)? {
                Node::Folder(folder) => Found::Folder(folder),
                Node::File(object) => Found::File(object),
            };
        }
        Some(at)
    }

    fn white_out(&mut self, path: &TreePath, replaced: &BTreeSet<&str>) -> Result<()> {
        let Some((folder, name)) = path.split() else { return Ok(()) };
        if let Some(folder) = self.existing(folder, path, replaced)? {
            folder.children.remove(name);
        }
        Ok(())
    }

    fn make_opaque(&mut self, path: &TreePath, replaced: &BTreeSet<&str>) -> Result<()> {
        if let Some(folder) = self.existing(path.as_str(), path, replaced)? {
            folder.children.clear();
        }
        Ok(())
    }

    /// The folder with this path, if there is one. A file in its place is an error, unless the layer itself puts a folder there.
    fn existing(
        &mut self,
        folder: &str,
        path: &TreePath,
        replaced: &BTreeSet<&str>,
    ) -> Result<Option<&mut Self>> {
        let mut at = self;
        let mut end = 0;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            end += part.len() + usize::from(end > 0);
            at = match at.children.get_mut(part) {
                None => return Ok(None),
                Some(Node::Folder(next)) => next,
                Some(Node::File(_)) if folder.get(..end).is_some_and(|path| replaced.contains(path)) => {
                    return Ok(None);
                }
                Some(Node::File(_)) => return Err(no_folder(path, part)),
            };
        }
        Ok(Some(at))
    }

    fn put_folder(&mut self, path: &TreePath, meta: &Meta) -> Result<()> {
        if path.split().is_none() {
            self.meta = Some(meta.clone());
            return Ok(());
        }
        let (parent, name) = self.parent_of(path)?;
        let node = parent.children.entry(name).or_insert_with(|| Node::Folder(Self::default()));
        if let Node::File(_) = node {
            *node = Node::Folder(Self::default());
        }
        if let Node::Folder(folder) = node {
            folder.meta = Some(meta.clone());
        }
        Ok(())
    }

    fn put(&mut self, path: &TreePath, node: Node) -> Result<()> {
        let (parent, name) = self.parent_of(path)?;
        parent.children.insert(name, node);
        Ok(())
    }

    fn linked(&self, path: &TreePath, target: &TreePath) -> Result<ObjectId> {
        match self.find(target) {
            Some(Found::File(object)) => Ok(object.clone()),
            _ => Err(Error::invalid(format!(
                "{:?} in a layer is a hard link to {:?}, which is not a file there",
                path.as_str(),
                target.as_str()
            ))
            .with_hint("build the image again")),
        }
    }

    /// The folder that a path is in, made where it is missing, and the path's name.
    fn parent_of(&mut self, path: &TreePath) -> Result<(&mut Self, String)> {
        let Some((folder, name)) = path.split() else {
            return Err(Error::invalid("a layer has a file in the place of the root folder"));
        };
        let mut at = self;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            let next = at.children.entry(part.to_owned()).or_insert_with(|| Node::Folder(Self::default()));
            at = match next {
                Node::Folder(next) => next,
                Node::File(_) => return Err(no_folder(path, part)),
            };
        }
        Ok((at, name.to_owned()))
    }
}

/// What a look-up found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    Folder(&'a Folder),
    File(&'a ObjectId),
}

fn folders_of(layer: &[Entry]) -> BTreeSet<&str> {
    let folders = layer.iter().filter(|entry| matches!(entry.change, Change::Folder(_)));
    folders.map(|entry| entry.path.as_str()).collect()
}

fn no_folder(path: &TreePath, part: &str) -> Error {
    Error::invalid(format!(
        "{:?} in a layer goes through {part:?}, which is a file or a symbolic link",
        path.as_str()
    ))
    .with_hint("build the image so that the layer has the real path (usr/lib/… instead of lib/…)")
}
