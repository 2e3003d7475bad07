//! Fault injection: counts disk mutations, and stops or fails a chosen one.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::error::{Error, ErrorKind, Result};

/// Counts every mutation of the disk and, in tests, makes the chosen one fail.
///
/// Clones share one counter, so that a backend, a bootloader and the engine's own state count together.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

/// What a file system may answer once, and not again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `ENOSPC`: it is full.
    NoSpace,
    /// `EIO`: the device failed.
    Io,
    /// `EINTR`: a signal came first. The call is to be made again.
    Signal,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoSpace, Self::Io, Self::Signal];

    fn error(self) -> std::io::Error {
        std::io::Error::from(match self {
            Self::NoSpace => std::io::ErrorKind::StorageFull,
            Self::Io => return std::io::Error::other("injected input/output error"),
            Self::Signal => std::io::ErrorKind::Interrupted,
        })
    }
}

#[derive(Default)]
struct Shared {
    count: AtomicU64,
    stop_at: Mutex<Option<(u64, ErrorKind)>>,
    fail_at: Mutex<Option<(u64, Fault)>>,
    interrupted: AtomicBool,
    stopped: AtomicBool,
    log: Mutex<Option<Vec<String>>>,
}

impl Faults {
    /// Counts, and never fails.
    pub fn none() -> Self {
        Self::default()
    }

    /// From mutation `n` (counted from 0) on, nothing is written any more: as if power was cut just before it.
    pub fn stop_before(n: u64) -> Self {
        let faults = Self::default();
        *faults.0.stop_at.lock().unwrap_or_else(PoisonError::into_inner) = Some((n, ErrorKind::Interrupted));
        faults
    }

    /// Mutation `n` (counted from 0) fails like this, and nothing else does.
    pub fn fail_once(n: u64, fault: Fault) -> Self {
        let faults = Self::default();
        *faults.0.fail_at.lock().unwrap_or_else(PoisonError::into_inner) = Some((n, fault));
        faults
    }

    /// To be called within each system call that changes something and may be interrupted by a signal.
    ///
    /// # Errors
    /// `Interrupted`, once, if that was chosen for this mutation.
    pub(super) fn signal(&self) -> std::io::Result<()> {
        if self.0.interrupted.swap(false, Ordering::SeqCst) { Err(Fault::Signal.error()) } else { Ok(()) }
    }

    /// Keeps what each mutation was, for [`Faults::log`].
    #[must_use]
    pub fn with_log(self) -> Self {
        *self.0.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        self
    }

    /// Mutations so far.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Whether the chosen point was reached.
    pub fn stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// What happened so far, one line each.
    pub fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// To be called just before each mutation; also by plugins around calls into libraries that write on their own.
    ///
    /// # Errors
    /// `Interrupted` from the point on where everything stops; `NoSpace` or `Io` at the one that fails. Nothing may be written then.
    pub fn before(&self, what: &str) -> Result<()> {
        let index = self.0.count.fetch_add(1, Ordering::SeqCst);
        if let Some(log) = self.0.log.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            log.push(what.to_owned());
        }
        self.fail(index, what)?;
        let stop_at = *self.0.stop_at.lock().unwrap_or_else(PoisonError::into_inner);
        match stop_at {
            Some((n, kind)) if index >= n => {
                self.0.stopped.store(true, Ordering::SeqCst);
                Err(Error::new(kind, format!("stopped before mutation {index}: {what}")))
            }
            _ => Ok(()),
        }
    }

    fn fail(&self, index: u64, what: &str) -> Result<()> {
        let fail_at = *self.0.fail_at.lock().unwrap_or_else(PoisonError::into_inner);
        match fail_at {
            Some((n, Fault::Signal)) if index == n => {
                self.0.interrupted.store(true, Ordering::SeqCst);
                Ok(())
            }
            Some((n, fault)) if index == n => Err(Error::io(what, fault.error())),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("count", &self.count()).finish_non_exhaustive()
    }
}
