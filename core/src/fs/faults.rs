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
    met: Mutex<Option<String>>,
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

    /// Makes a system call that changes something. A signal that comes first is no failure: the call is made again, as it is here where
    /// [`Fault::Signal`] was chosen for this mutation.
    ///
    /// # Errors
    /// Those of the call, but for `Interrupted`.
    pub fn again<T>(&self, mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
        again(|| self.signal().and_then(|()| call()))
    }

    /// Whether a signal comes now that [`Fault::Signal`] chose; once.
    pub(crate) fn signal(&self) -> std::io::Result<()> {
        if self.0.interrupted.swap(false, Ordering::SeqCst) { Err(Fault::Signal.error()) } else { Ok(()) }
    }

    /// What the mutation was that [`Faults::fail_once`] chose; `None` as long as it was not reached.
    pub fn met(&self) -> Option<String> {
        self.0.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let Some((_, fault)) = fail_at.filter(|(n, _)| index == *n) else { return Ok(()) };
        *self.0.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_owned());
        if fault == Fault::Signal {
            self.0.interrupted.store(true, Ordering::SeqCst);
            return Ok(());
        }
        Err(Error::io(what, fault.error()))
    }
}

/// Makes a system call, again as long as a signal comes first.
///
/// # Errors
/// Those of the call, but for `Interrupted`.
pub(crate) fn again<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_that_was_to_fail_is_known_once_it_was_reached() {
        for fault in Fault::ALL {
            let faults = Faults::fail_once(1, fault);
            faults.before("first").unwrap();
            assert_eq!(faults.met(), None);
            assert_eq!(faults.before("second").is_ok(), fault == Fault::Signal);
            faults.before("third").unwrap();
            assert_eq!(faults.met().as_deref(), Some("second"));
        }
    }

    #[test]
    fn a_call_that_a_signal_came_before_is_made_again_and_other_errors_are_not() {
        let faults = Faults::fail_once(0, Fault::Signal);
        faults.before("a call").unwrap();
        let mut outcomes = [Err(std::io::ErrorKind::Interrupted.into()), Ok("done")].into_iter();
        assert_eq!(faults.again(|| outcomes.next().unwrap()).unwrap(), "done");
        let mut calls = 0;
        let full: std::io::Result<()> = faults.again(|| {
            calls += 1;
            Err(Fault::NoSpace.error())
        });
        assert!(full.is_err() && calls == 1);
    }
}
