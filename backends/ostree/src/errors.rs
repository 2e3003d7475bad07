//! Errors of libostree, turned into ours.

use bootwright_core::error::{Error, ErrorKind, Result};
use ostree_ext::{gio, glib};

/// An error of libostree while doing `what`.
pub(crate) fn library(what: impl Into<String>, error: glib::Error) -> Error {
    let kind = kind_of(&error);
    let wrapped = Error::new(kind, what).with_source(error);
    match kind {
        ErrorKind::NoSpace => {
            wrapped.with_hint("free some space on the root file system, for example with `bootwright gc`")
        }
        ErrorKind::Permission => wrapped.with_hint("run it as root"),
        _ => wrapped,
    }
}

/// libostree's own check for free space has no code of its own, only words.
const FULL: &[&str] = &["min-free-space-percent", "min-free-space-size", "would be exceeded"];

fn kind_of(error: &glib::Error) -> ErrorKind {
    if FULL.iter().any(|words| error.message().contains(words)) {
        return ErrorKind::NoSpace;
    }
    match error.kind::<gio::IOErrorEnum>() {
        Some(gio::IOErrorEnum::NoSpace) => ErrorKind::NoSpace,
        Some(gio::IOErrorEnum::PermissionDenied) => ErrorKind::Permission,
        Some(gio::IOErrorEnum::NotFound) => ErrorKind::NotFound,
        Some(gio::IOErrorEnum::Busy) => ErrorKind::Busy,
        Some(gio::IOErrorEnum::Cancelled) => ErrorKind::Interrupted,
        _ => ErrorKind::Io,
    }
}

/// Adds to results of libostree what was being done.
pub(crate) trait LibraryContext<T> {
    /// Wraps the error as [`library`] does.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> LibraryContext<T> for std::result::Result<T, glib::Error> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| library(what(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_whether_the_kernel_or_the_library_noticed_it() {
        let kernel = glib::Error::new(gio::IOErrorEnum::NoSpace, "writing: No space left on device");
        let library_itself = glib::Error::new(
            gio::IOErrorEnum::Failed,
            "min-free-space-percent '3%' would be exceeded, at least 1 MB requested",
        );
        for error in [kernel, library_itself] {
            let error = library("store layer a", error);
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            assert!(error.hint().is_some() && error.to_string().starts_with("store layer a: "), "{error}");
        }
    }
}
