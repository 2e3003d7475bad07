//! Names in a layer: what they may look like, and which of them are whiteouts (OCI image specification, "Image Layer Filesystem
//! Changeset").

use bootwright_core::{
    error::{Error, Result},
    layers::{OPAQUE, WHITEOUT},
};

/// What Linux can handle in one call; longer ones could not be reached in a running system.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// aufs left such folders in layers (`.wh..wh.plnk`, `.wh..wh.aufs`); they mean nothing to others.
const AUFS: &str = ".wh..wh.";

/// A path without `/` at its ends, without empty parts, `.` and `..`. The root is the empty one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct TreePath(String);

impl TreePath {
    /// Reads a name as it stands in a tar file.
    ///
    /// # Errors
    /// `InvalidInput` if it leads out of the tree, or cannot be the name of a file.
    pub(super) fn parse(raw: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(raw).map_err(|_| bad(raw, "is not UTF-8, which OSTree needs"))?;
        if text.len() > MAX_PATH || text.split('/').any(|part| part.len() > MAX_NAME) {
            return Err(bad(raw, "is too long"));
        }
        if text.contains('\0') {
            return Err(bad(raw, "holds a zero byte"));
        }
        let text = text.strip_prefix('/').map_or(Ok(text), |_| Err(bad(raw, "is absolute")))?;
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(bad(raw, "leads out of its folder"));
        }
        Ok(Self(parts.join("/")))
    }

    /// As it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts from the root down.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The folder that it is in, and its name; `None` for the root.
    pub(super) fn split(&self) -> Option<(&str, &str)> {
        if self.0.is_empty() { None } else { Some(self.0.rsplit_once('/').unwrap_or(("", &self.0))) }
    }

    /// What its name says.
    ///
    /// # Errors
    /// `InvalidInput` for a whiteout of nothing.
    pub(super) fn order(self) -> Result<Order> {
        let Some((folder, name)) = self.split() else { return Ok(Order::Keep(self)) };
        if self.parts().any(|part| part.starts_with(AUFS) && part != OPAQUE) {
            return Ok(Order::Ignore);
        }
        if name == OPAQUE {
            return Ok(Order::Empty(Self(folder.to_owned())));
        }
        match name.strip_prefix(WHITEOUT) {
            None => Ok(Order::Keep(self)),
            Some("" | "." | "..") => Err(bad(self.0.as_bytes(), "is a whiteout of nothing")),
            Some(hidden) if folder.is_empty() => Ok(Order::Remove(Self(hidden.to_owned()))),
            Some(hidden) => Ok(Order::Remove(Self(format!("{folder}/{hidden}")))),
        }
    }
}

/// What an entry with this name is there for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It is a file.
    Keep(TreePath),
    /// Lower layers' file of this name goes.
    Remove(TreePath),
    /// Everything that lower layers have in this folder goes.
    Empty(TreePath),
    /// Nothing.
    Ignore,
}

fn bad(raw: &[u8], why: &str) -> Error {
    let shown: String = String::from_utf8_lossy(raw).chars().take(200).collect();
    Error::invalid(format!("the name {shown:?} in a layer {why}"))
        .with_hint("build the image again without that file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_lose_what_means_nothing() {
        for (raw, clean) in [("./usr/bin/", "usr/bin"), ("a//b/./c", "a/b/c"), ("./", ""), (".", "")] {
            assert_eq!(path(raw).as_str(), clean);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_nowhere_are_refused() {
        let long = "a/".repeat(3000);
        let long_name = "a".repeat(256);
        for raw in ["/etc/passwd", "../x", "a/../../x", "a/..", "a\0b", &long, &long_name] {
            assert!(TreePath::parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
        assert!(TreePath::parse(b"caf\xe9").is_err());
    }

    #[test]
    fn whiteouts_are_orders() {
        assert_eq!(path("a/.wh.b").order().unwrap(), Order::Remove(path("a/b")));
        assert_eq!(path(".wh.b").order().unwrap(), Order::Remove(path("b")));
        assert_eq!(path("a/.wh..wh..opq").order().unwrap(), Order::Empty(path("a")));
        assert_eq!(path(".wh..wh..opq").order().unwrap(), Order::Empty(path("")));
        assert_eq!(path(".wh..wh.plnk/7").order().unwrap(), Order::Ignore);
        assert_eq!(path("a/.what").order().unwrap(), Order::Keep(path("a/.what")));
        for bad in ["a/.wh.", "a/.wh...", "a/.wh.."] {
            assert!(path(bad).order().is_err(), "{bad}");
        }
    }
}
