//! Errors of a world: what the system refused, told apart from what the test fixture could not do.

use std::fmt::{self, Write as _};

use bootwright_core::{Error, ErrorKind};

use super::{Demand, Missing, Property};

/// Result of whatever a world is asked for.
pub type Result<T, E = Trouble> = std::result::Result<T, E>;

/// The system under test said no. A correct answer to many a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error's kind. A virtual machine knows it from what the program printed.
    pub kind: ErrorKind,
    /// Message, causes, context and hint, as a person reads them.
    pub text: String,
}

/// Why something was not done.
#[derive(Debug)]
pub enum Trouble {
    /// The system under test refused it.
    Refused(Refusal),
    /// The world cannot do this in its tier; the case has to demand it.
    Missing(Missing),
    /// The fixture is broken: no verdict about the system.
    World(anyhow::Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        for (key, value) in error.context() {
            let _ = write!(text, "; {key}: {value}");
        }
        if let Some(hint) = error.hint() {
            let _ = write!(text, "; hint: {hint}");
        }
        Self::Refused(Refusal { kind: error.kind(), text })
    }
}

/// The tier does not have it.
impl From<Property> for Trouble {
    fn from(property: Property) -> Self {
        Self::Missing(Missing(Demand::Tier(property).to_string()))
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::World(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::World(error.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused as {}: {}", refusal.kind, refusal.text),
            Self::Missing(missing) => write!(f, "the case uses what it does not demand: {missing}"),
            Self::World(error) => write!(f, "the fixture is broken: {error:#}"),
        }
    }
}

impl std::error::Error for Trouble {}

/// The refusal that a case expects.
///
/// # Errors
/// If the system did it, or the fixture is broken.
pub fn refused<T: fmt::Debug>(result: Result<T>) -> anyhow::Result<Refusal> {
    match result {
        Err(Trouble::Refused(refusal)) => Ok(refusal),
        Err(other) => Err(other.into()),
        Ok(done) => anyhow::bail!("it was done, although it should have been refused: {done:?}"),
    }
}
