//! Errors of the composefs crates, turned into ours.

use std::{
    error::Error as StdError,
    fmt,
    fs::File,
    io::{BufWriter, IntoInnerError},
};

use bootwright_core::error::{Error, ErrorKind, Result};

/// The innermost message of a library's error. Its outer layers repeat what our own message says.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

/// An error of a library while doing `what`. Full disks, missing files and permissions keep their kind; `otherwise` is for the rest.
pub(crate) fn library(what: impl Into<String>, otherwise: ErrorKind, error: &anyhow::Error) -> Error {
    tracing::debug!("{error:?}");
    let kind = error.chain().find_map(kind_of).unwrap_or(otherwise);
    Error::new(kind, what).with_source(Cause(error.root_cause().to_string()))
}

/// A task that worked on an image did not come to its end. The library's readers panic on some malformed layers, and then the image is
/// to blame; nothing else makes a task of ours panic.
pub(crate) fn task(doing: &str, error: tokio::task::JoinError) -> Error {
    if error.is_panic() {
        return Error::invalid(format!(
            "{doing}: a layer is malformed in a way that the library cannot read"
        ))
        .with_source(error)
        .with_hint("build the image again: a time, size or name in one of its layers is impossible");
    }
    Error::internal(format!("{doing}: the task was stopped")).with_source(error)
}

fn kind_of(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    // The last bytes of an object are written when its buffer is given up; that error does not name its cause as its source.
    let last = error.downcast_ref::<IntoInnerError<BufWriter<File>>>().map(IntoInnerError::error);
    let io = error.downcast_ref::<std::io::Error>().or(last).map(std::io::Error::kind);
    let errno = error.downcast_ref::<rustix::io::Errno>().map(|errno| std::io::Error::from(*errno).kind());
    match io.or(errno)? {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Some(ErrorKind::NoSpace),
        std::io::ErrorKind::PermissionDenied => Some(ErrorKind::Permission),
        std::io::ErrorKind::ReadOnlyFilesystem => Some(ErrorKind::Io),
        _ => None,
    }
}

/// Adds to results of the libraries what was being done.
pub(crate) trait LibraryContext<T> {
    /// Any unclear failure counts as `otherwise`.
    fn or_kind(self, otherwise: ErrorKind, what: impl FnOnce() -> String) -> Result<T>;

    /// Any unclear failure counts as an I/O error.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> LibraryContext<T> for std::result::Result<T, E> {
    fn or_kind(self, otherwise: ErrorKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| library(what(), otherwise, &error.into()))
    }

    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.or_kind(ErrorKind::Io, what)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_disk_deep_inside_a_library_error_keeps_its_kind() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = anyhow::Error::new(full).context("writing object").context("importing layer");
        let error = library("store layer a", ErrorKind::InvalidInput, &error);
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.to_string().starts_with("store layer a: "), "{error}");
    }

    #[test]
    fn a_disk_that_is_full_at_the_last_bytes_of_an_object_is_called_full() {
        let mut buffer = BufWriter::new(File::options().write(true).open("/dev/full").unwrap());
        buffer.write_all(b"last").unwrap();
        let error = anyhow::Error::new(buffer.into_inner().unwrap_err());
        assert_eq!(library("unpack", ErrorKind::InvalidInput, &error).kind(), ErrorKind::NoSpace);
    }
}
