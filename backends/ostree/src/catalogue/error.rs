//! Errors of libostree, turned into ours.

use bootwright_core::error::{Error, ErrorKind, Result};
use ostree_ext::{gio, glib};

/// Adds to results of the library what was being done.
pub(crate) trait GlibContext<T> {
    /// Full disks, missing permissions and missing files keep their kind; any other failure counts as `otherwise`.
    fn or_kind(self, otherwise: ErrorKind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> GlibContext<T> for std::result::Result<T, glib::Error> {
    fn or_kind(self, otherwise: ErrorKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let kind = kind_of(&error).unwrap_or(otherwise);
            Error::new(kind, what()).with_source(error)
        })
    }
}

fn kind_of(error: &glib::Error) -> Option<ErrorKind> {
    match error.kind::<gio::IOErrorEnum>()? {
        gio::IOErrorEnum::NoSpace => Some(ErrorKind::NoSpace),
        gio::IOErrorEnum::PermissionDenied => Some(ErrorKind::Permission),
        _ => None,
    }
}
