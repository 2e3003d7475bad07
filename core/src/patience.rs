//! Waits for what others hold for a moment only: a lock, a mount, a device.

use std::time::{Duration, Instant};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes an attempt again for so long as it fails in a way that passes, `patience` at most. Blocks the thread in between.
///
/// # Errors
/// That of the last attempt.
pub fn again_while<T, E>(
    patience: Duration,
    passes: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Err(error) if passes(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::{Errno, Result};

    use super::*;

    /// A lock that others have for the first `held` attempts, and what became of it, with the number of attempts.
    fn attempts(held: usize, then: Result<()>, patience: Duration) -> (Result<()>, usize) {
        let mut count = 0;
        let attempt = || {
            count += 1;
            if count <= held { Err(Errno::WOULDBLOCK) } else { then }
        };
        (again_while(patience, |error| *error == Errno::WOULDBLOCK, attempt), count)
    }

    #[test]
    fn what_is_held_for_a_moment_is_waited_for() {
        assert_eq!(attempts(3, Ok(()), Duration::from_secs(60)), (Ok(()), 4));
    }

    #[test]
    fn a_lock_is_waited_for_no_longer_than_that_and_no_other_error_is() {
        assert_eq!(attempts(usize::MAX, Ok(()), Duration::ZERO).0, Err(Errno::WOULDBLOCK));
        assert_eq!(attempts(0, Err(Errno::IO), Duration::from_secs(60)), (Err(Errno::IO), 1));
    }
}
