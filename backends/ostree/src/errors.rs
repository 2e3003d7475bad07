//! Errors of libostree, turned into ours.

use bootwright_core::error::{Error, ErrorKind, Result};
use ostree_ext::{gio, glib};

/// An error of libostree while doing `what`.
pub(crate) fn library(what: impl Into<String>, error: glib::Error) -> Error {
    let kind = kind_of(&error);
    of_kind(kind, what, error)
}

fn of_kind(kind: ErrorKind, what: impl Into<String>, error: glib::Error) -> Error {
    let wrapped = Error::new(kind, what).with_source(error);
    if kind == ErrorKind::Permission { wrapped.with_hint("run it as root") } else { wrapped }
}

/// libostree's own check for free space has no code of its own, only words.
const FULL: &[&str] = &["min-free-space-percent", "min-free-space-size", "would be exceeded"];

/// What the disk or the caller is to blame for, whatever was being done.
fn outer_kind(error: &glib::Error) -> Option<ErrorKind> {
    if FULL.iter().any(|words| error.message().contains(words)) {
        return Some(ErrorKind::NoSpace);
    }
    match error.kind::<gio::IOErrorEnum>()? {
        gio::IOErrorEnum::NoSpace => Some(ErrorKind::NoSpace),
        gio::IOErrorEnum::PermissionDenied => Some(ErrorKind::Permission),
        gio::IOErrorEnum::Busy => Some(ErrorKind::Busy),
        gio::IOErrorEnum::Cancelled => Some(ErrorKind::Interrupted),
        _ => None,
    }
}

fn kind_of(error: &glib::Error) -> ErrorKind {
    outer_kind(error).unwrap_or(match error.kind::<gio::IOErrorEnum>() {
        Some(gio::IOErrorEnum::NotFound) => ErrorKind::NotFound,
        // Extended attributes that no kernel takes, for example.
        Some(gio::IOErrorEnum::InvalidArgument) => ErrorKind::InvalidInput,
        _ => ErrorKind::Io,
    })
}

/// Adds to results of libostree what was being done.
pub(crate) trait LibraryContext<T> {
    /// Wraps the error as [`library`] does.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;

    /// The same, but what is neither the disk's nor the caller's fault counts as `otherwise`.
    fn or_kind(self, otherwise: ErrorKind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> LibraryContext<T> for std::result::Result<T, glib::Error> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| library(what(), error))
    }

    fn or_kind(self, otherwise: ErrorKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| of_kind(outer_kind(&error).unwrap_or(otherwise), what(), error))
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
            assert!(error.to_string().starts_with("store layer a: "), "{error}");
        }
    }
}
