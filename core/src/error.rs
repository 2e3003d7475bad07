//! The one error type: what went wrong, what it left behind, and what would work instead.

use std::fmt;

/// Shorthand for results of this crate and of every plugin.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing went wrong. Callers decide by kind, people read the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A named thing (image, deployment, plugin, file) does not exist.
    NotFound,
    /// The plugin, kernel or firmware cannot do this; nothing was touched (invariant I6).
    Unsupported,
    /// Bytes are not what their digest says, or two sources that must agree do not.
    Integrity,
    /// Not enough room; the message carries the numbers.
    NoSpace,
    /// Another command holds the lock, or a device is in use.
    Busy,
    /// What the caller or an image supplied is malformed.
    InvalidInput,
    /// Privileges are missing.
    Permission,
    /// The transfer of an image stopped before its end; running the command again resumes it.
    Interrupted,
    /// The operating system refused a read or a write for any other reason.
    Io,
    /// A defect of Bootwright itself: an assumption did not hold.
    Internal,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::NotFound,
        Self::Unsupported,
        Self::Integrity,
        Self::NoSpace,
        Self::Busy,
        Self::InvalidInput,
        Self::Permission,
        Self::Interrupted,
        Self::Io,
        Self::Internal,
    ];

    /// The word shown to people and used in JSON output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Unsupported => "unsupported",
            Self::Integrity => "integrity",
            Self::NoSpace => "no space",
            Self::Busy => "busy",
            Self::InvalidInput => "invalid input",
            Self::Permission => "permission",
            Self::Interrupted => "interrupted",
            Self::Io => "i/o",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operation that failed has left on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Effect {
    /// Nothing was changed.
    #[default]
    None,
    /// Something was written, but what boots is unchanged; recovery or a second run cleans it up.
    Partial,
    /// The new state is what boots; only work after the commit failed.
    Committed,
}

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error of any part of Bootwright.
///
/// `Display` prints the message and, behind it, the sources; the hint is separate ([`Error::hint`]) so that a
/// command line can print it on a line of its own.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    effect: Effect,
    operation: Option<&'static str>,
    message: String,
    hint: Option<String>,
    context: Vec<(&'static str, String)>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` that left nothing behind. `message` is lower case and says what was wrong.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            effect: Effect::None,
            operation: None,
            message: message.into(),
            hint: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Shorthand for [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Shorthand for [`ErrorKind::Integrity`].
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Integrity, message)
    }

    /// Shorthand for [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An operating system error while doing `what` ("write /boot/loader/entries/a.conf"), with its kind derived:
    /// no space, permission, not found and busy keep their meaning, all else is [`ErrorKind::Io`]. An [`Error`] that travelled
    /// through a reader, wrapped in `source`, keeps its kind.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        let wrapped = source.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).map(Self::kind);
        let kind = wrapped.unwrap_or(match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            std::io::ErrorKind::ResourceBusy => ErrorKind::Busy,
            _ => ErrorKind::Io,
        });
        Self::new(kind, what).with_source(source)
    }

    /// Whether a device did not give back what is on it (`EIO`): then nobody knows what is there, which is another thing than that nothing is, or that
    /// it is damaged.
    pub fn is_unreadable(&self) -> bool {
        let io = self.0.source.as_deref().and_then(|source| source.downcast_ref::<std::io::Error>());
        io.is_some_and(crate::fs::is_no_answer)
    }

    /// Says what would work ("run it as root", "free 12 MiB on the ESP").
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Attaches the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds a key and value that help to find the cause (a path, a digest, a plugin's name).
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Names the plugin method or engine step during which it happened, unless an inner layer already did.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Raises the recorded effect to `effect`; it never falls.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.0.effect = self.0.effect.max(effect);
        self
    }

    /// What sort of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the failed operation has left on the disk.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// What would work instead, if known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The method or step during which it happened.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The message alone, without its sources.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The keys and values added on the way up.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            // An `Error` below us prints its own chain.
            write!(f, ": {cause}")?;
            if cause.is::<Error>() {
                break;
            }
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("effect", &self.0.effect)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

/// Adds context to results of the standard library.
pub trait IoContext<T> {
    /// Turns an [`std::io::Error`] into an [`Error`] that says what was being done.
    fn context_io(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn context_io(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::io(what(), source.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_effect_never_falls() {
        let error = Error::internal("x").with_effect(Effect::Committed).with_effect(Effect::Partial);
        assert_eq!(error.effect(), Effect::Committed);
    }

    #[test]
    fn a_full_disk_keeps_its_kind_through_io_errors() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Error::io("write a", full).kind(), ErrorKind::NoSpace);
    }

    #[test]
    fn an_error_keeps_its_kind_through_a_reader() {
        let wrapped = std::io::Error::other(Error::integrity("x"));
        assert_eq!(Error::io("read a", wrapped).kind(), ErrorKind::Integrity);
    }

    #[test]
    fn display_prints_each_cause_once() {
        let inner = Error::io("read b", std::io::Error::other("cable pulled"));
        let outer = Error::internal("read a").with_source(inner);
        assert_eq!(outer.to_string(), "read a: read b: cable pulled");
    }
}
