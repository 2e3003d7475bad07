//! Images that carry an `OSTree` commit, as ostree-rs-ext makes them.
//!
//! Their layers hold every file as an object of a repository, and the file's own name as a hard link to it. So they unpack like any other
//! image, but for the extended attributes, which are in files of their own: `<sum>.file-xattrs` is a serialised `a(ayay)`,
//! `<object>.file-xattrs-link` a hard link to it that says whose they are. The objects that describe folders and the commit are not
//! needed: the tree that the layers make says the same, and upper layers may have changed it.

use std::collections::{BTreeMap, HashMap};

use bootwright_core::error::{Error, Result};
use ostree_ext::glib;

use super::path::TreePath;

/// Where the objects lie.
const OBJECTS: &str = "sysroot/ostree/repo/objects/";
/// The repository and what else belongs to the physical root: not part of the tree.
const SYSROOT: &str = "sysroot/";
/// Of all attributes of one layer together, so that a hostile one cannot fill the memory.
const MAX_XATTRS: usize = 64 << 20;

/// What an entry is to an encapsulated image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An ordinary file of the tree.
    Tree,
    /// The content object with this name.
    Object(String),
    /// Extended attributes with this name.
    Xattrs(String),
    /// Tells the attributes of the object with this name.
    XattrsLink(String),
    /// Anything else, which is not needed.
    Other,
}

impl Part {
    /// What this path is.
    pub(super) fn of(path: &TreePath) -> Self {
        if !path.as_str().starts_with(SYSROOT) {
            return Self::Tree;
        }
        let Some(object) = path.as_str().strip_prefix(OBJECTS) else { return Self::Other };
        let name = |name: &str| name.replace('/', "");
        match object.rsplit_once('.') {
            Some((id, "file")) => Self::Object(name(id)),
            Some((id, "file-xattrs")) => Self::Xattrs(name(id)),
            Some((id, "file-xattrs-link")) => Self::XattrsLink(name(id)),
            _ => Self::Other,
        }
    }
}

/// The attributes that a layer has told of so far.
#[derive(Debug, Default)]
pub(super) struct Detached {
    values: HashMap<String, BTreeMap<String, String>>,
    of_objects: HashMap<String, String>,
    bytes: usize,
}

impl Detached {
    /// Whether a file of so many bytes may still be read into memory.
    pub(super) fn has_room(&self, size: u64) -> bool {
        usize::try_from(size).is_ok_and(|size| self.bytes.saturating_add(size) <= MAX_XATTRS)
    }

    /// Takes the content of a `.file-xattrs`.
    ///
    /// # Errors
    /// `InvalidInput` if it is malformed.
    pub(super) fn learn(&mut self, name: String, content: &[u8]) -> Result<()> {
        self.bytes = self.bytes.saturating_add(content.len());
        let parsed = parse(content).ok_or_else(|| {
            Error::invalid(format!("the extended attributes {name} in a layer are malformed"))
                .with_hint("export the commit again")
        })?;
        self.values.insert(name, parsed);
        Ok(())
    }

    /// Takes a `.file-xattrs-link`.
    pub(super) fn link(&mut self, object: String, target: &TreePath) {
        if let Part::Xattrs(name) = Part::of(target) {
            self.of_objects.insert(object, name);
        }
    }

    /// The attributes of an object.
    pub(super) fn of(&self, object: &str) -> Option<&BTreeMap<String, String>> {
        self.values.get(self.of_objects.get(object)?)
    }
}

fn parse(content: &[u8]) -> Option<BTreeMap<String, String>> {
    let variant = glib::Variant::from_data::<Vec<(Vec<u8>, Vec<u8>)>, _>(content.to_vec());
    if !variant.is_normal_form() {
        return None;
    }
    let pairs = variant.get::<Vec<(Vec<u8>, Vec<u8>)>>()?;
    let pair = |(name, value): (Vec<u8>, Vec<u8>)| {
        let name = String::from_utf8(name).ok()?;
        let name = name.strip_suffix('\0').unwrap_or(&name);
        (!name.is_empty() && !name.contains('\0')).then(|| (name.to_owned(), hex::encode(value)))
    };
    pairs.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use glib::prelude::ToVariant as _;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn objects_are_known_by_their_paths() {
        for (text, part) in [
            ("usr/bin/sh", Part::Tree),
            ("sysroot", Part::Tree),
            ("sysroot/ostree/repo/config", Part::Other),
            ("sysroot/ostree/repo/objects/ab/cd.dirtree", Part::Other),
            ("sysroot/ostree/repo/objects/ab/cd.file", Part::Object("abcd".to_owned())),
            ("sysroot/ostree/repo/objects/ab/cd.file-xattrs", Part::Xattrs("abcd".to_owned())),
            ("sysroot/ostree/repo/objects/ab/cd.file-xattrs-link", Part::XattrsLink("abcd".to_owned())),
        ] {
            assert_eq!(Part::of(&path(text)), part, "{text}");
        }
    }

    #[test]
    fn attributes_are_found_through_the_link() {
        let mut detached = Detached::default();
        let content = vec![(b"user.a\0".to_vec(), b"1".to_vec())].to_variant();
        detached.learn("11".to_owned(), content.data()).unwrap();
        detached.link("22".to_owned(), &path("sysroot/ostree/repo/objects/1/1.file-xattrs"));
        assert_eq!(detached.of("22").unwrap().get("user.a").unwrap(), "31");
        assert!(detached.of("11").is_none());
    }

    #[test]
    fn malformed_attributes_are_refused() {
        assert!(Detached::default().learn("11".to_owned(), b"\xff\xff\xff").is_err());
        let nameless = vec![(b"\0".to_vec(), b"1".to_vec())].to_variant();
        assert!(Detached::default().learn("11".to_owned(), nameless.data()).is_err());
    }
}
