//! Fault injection: counts disk mutations and what makes them durable, and stops or fails a chosen one.

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
    /// `EIO`, but from a call that makes durable what was written before: it is there, and may not be after a power cut.
    Sync,
    /// `EIO` from a call that opens, lists or looks at something, also when it is made again.
    Read,
}

impl Fault {
    /// Those of changes, and of what makes changes durable.
    pub const OF_CHANGES: [Self; 4] = [Self::NoSpace, Self::Io, Self::Signal, Self::Sync];

    fn error(self) -> std::io::Error {
        std::io::Error::from(match self {
            Self::NoSpace => std::io::ErrorKind::StorageFull,
            Self::Io | Self::Sync | Self::Read => return rustix::io::Errno::IO.into(),
            Self::Signal => std::io::ErrorKind::Interrupted,
        })
    }
}

#[derive(Default)]
struct Shared {
    count: AtomicU64,
    syncs: AtomicU64,
    reads: AtomicU64,
    reads_fail_at_first: AtomicBool,
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

    /// Mutation `n` (counted from 0) fails like this, and nothing else does; with [`Fault::Sync`] and [`Fault::Read`] it is the `n`th of those.
    pub fn fail_once(n: u64, fault: Fault) -> Self {
        let faults = Self::default();
        *faults.0.fail_at.lock().unwrap_or_else(PoisonError::into_inner) = Some((n, fault));
        faults
    }

    /// Each call that reads fails with `EIO`, and answers when it is made again; nothing else fails.
    pub fn reads_fail_at_first() -> Self {
        let faults = Self::default();
        faults.0.reads_fail_at_first.store(true, Ordering::SeqCst);
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

    /// Makes a system call that makes durable what was written before; again if a signal comes first.
    ///
    /// # Errors
    /// Those of the call, but for `Interrupted`; that of [`Fault::Sync`], without the call, where it was chosen for this sync.
    pub fn sync<T>(
        &self,
        what: impl FnOnce() -> String,
        call: impl FnMut() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let index = self.0.syncs.fetch_add(1, Ordering::SeqCst);
        if self.chosen(index) == Some(Fault::Sync) {
            self.meet(&what());
            return Err(Fault::Sync.error());
        }
        again(call)
    }

    /// Makes a call that reads a file or a folder; again if a signal comes first.
    ///
    /// A device that does not answer is asked once more: one that was away for a moment (a bus that was reset, a network) is back then, and nothing
    /// has to be decided by a menu with a hole in it. What fails twice is damage.
    ///
    /// # Errors
    /// Those of the call, but for `Interrupted`; that of [`Fault::Read`], without the call, where it was chosen for this one.
    pub(crate) fn read<T>(
        &self,
        what: impl FnOnce() -> String,
        mut call: impl FnMut() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let mut failures = self.failures_of_read(what);
        let mut ask = || {
            if failures == 0 {
                return again(&mut call);
            }
            failures -= 1;
            Err(Fault::Read.error())
        };
        match ask() {
            Err(error) if is_no_answer(&error) => ask(),
            other => other,
        }
    }

    /// How often this read fails before it is made.
    fn failures_of_read(&self, what: impl FnOnce() -> String) -> u8 {
        let index = self.0.reads.fetch_add(1, Ordering::SeqCst);
        let failures = match self.chosen(index) {
            Some(Fault::Read) => 2,
            _ => u8::from(self.0.reads_fail_at_first.load(Ordering::SeqCst)),
        };
        if failures > 0 {
            self.meet(&what());
        }
        failures
    }

    /// Whether a signal comes now that [`Fault::Signal`] chose; once.
    pub(crate) fn signal(&self) -> std::io::Result<()> {
        if self.0.interrupted.swap(false, Ordering::SeqCst) { Err(Fault::Signal.error()) } else { Ok(()) }
    }

    /// What failed last, because it was chosen to; `None` as long as nothing did.
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

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
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

    /// What was chosen for the call with this number.
    fn chosen(&self, index: u64) -> Option<Fault> {
        let fail_at = *self.0.fail_at.lock().unwrap_or_else(PoisonError::into_inner);
        fail_at.filter(|(n, _)| index == *n).map(|(_, fault)| fault)
    }

    fn meet(&self, what: &str) {
        *self.0.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_owned());
    }

    fn fail(&self, index: u64, what: &str) -> Result<()> {
        let Some(fault) = self.chosen(index).filter(|fault| !matches!(fault, Fault::Sync | Fault::Read))
        else {
            return Ok(());
        };
        self.meet(what);
        if fault == Fault::Signal {
            self.0.interrupted.store(true, Ordering::SeqCst);
            return Ok(());
        }
        Err(Error::io(what, fault.error()))
    }
}

/// Whether a device did not give back what is on it.
pub(crate) fn is_no_answer(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
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
        for fault in [Fault::NoSpace, Fault::Io, Fault::Signal] {
            let faults = Faults::fail_once(1, fault);
            faults.before("first").unwrap();
            assert_eq!(faults.met(), None);
            assert_eq!(faults.before("second").is_ok(), fault == Fault::Signal);
            faults.before("third").unwrap();
            assert_eq!(faults.met().as_deref(), Some("second"));
        }
    }

    #[test]
    fn a_sync_that_was_to_fail_is_not_made_and_no_change_fails_instead() {
        let faults = Faults::fail_once(1, Fault::Sync);
        let mut made = Vec::new();
        for name in ["first", "second", "third"] {
            faults.before(name).unwrap();
            let call = || {
                made.push(name);
                Ok(())
            };
            let outcome = faults.sync(|| name.to_owned(), call);
            assert_eq!(outcome.is_ok(), name != "second");
        }
        assert_eq!((made, faults.met().as_deref()), (vec!["first", "third"], Some("second")));
        assert_eq!((faults.count(), faults.syncs()), (3, 3));
    }

    #[test]
    fn a_read_that_was_to_fail_says_that_nobody_knows_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "text").unwrap();
        for n in 0..3 {
            let root = crate::fs::Root::open(folder.path(), Faults::fail_once(n, Fault::Read)).unwrap();
            let found = [
                root.read("a").map(|read| read.is_some()),
                root.list(".").map(|names| !names.is_empty()),
                root.size_of("a").map(|size| size.is_some()),
            ];
            for (call, found) in (0..).zip(found) {
                assert_eq!(
                    found.map_err(|error| error.is_unreadable()),
                    if call == n { Err(true) } else { Ok(true) }
                );
            }
            assert!(root.read("none").unwrap().is_none());
        }
    }

    /// spec: BW-906
    #[test]
    fn a_device_that_does_not_answer_is_asked_once_more_and_not_twice() {
        let mut answers = [Err(Fault::Read.error()), Ok("there")].into_iter();
        let read = Faults::none().read(|| "a file".to_owned(), || answers.next().unwrap());
        assert_eq!(read.unwrap(), "there");
        for (error, asked) in [(Fault::Read, 2), (Fault::NoSpace, 1)] {
            let mut calls = 0;
            let read: std::io::Result<()> = Faults::none().read(
                || "a file".to_owned(),
                || {
                    calls += 1;
                    Err(error.error())
                },
            );
            assert_eq!((read.is_err(), calls), (true, asked));
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
