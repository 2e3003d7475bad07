//! A sentence for the console, and nothing more: nobody is there to handle it, the machine reboots.

use std::fmt;

/// What went wrong.
#[derive(Debug)]
pub struct Error(String);

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Says what was being done when the kernel refused.
pub trait Doing<T> {
    /// Puts `what` ("mount the image") in front of the cause.
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|cause| Error(format!("cannot {what}: {cause}")))
    }
}
