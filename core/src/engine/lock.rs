//! One command at a time: waiting for the lock, for a while.

use std::time::{Duration, Instant};

use super::{Engine, state::Lock};
use crate::{
    error::{Error, ErrorKind, Result},
    model::ProgressEvent,
};

const POLL: Duration = Duration::from_millis(50);

impl Engine {
    /// Takes the lock, waiting up to the patience that the engine was made with: right after a boot, the clean-up has it for
    /// some seconds, and nobody should have to know.
    ///
    /// # Errors
    /// `Busy` if another command still has it then; nothing was changed.
    pub(super) async fn lock(&self) -> Result<Lock> {
        let start = Instant::now();
        let mut told = false;
        loop {
            if let Some(lock) = self.parts.state.try_lock()? {
                return Ok(lock);
            }
            if start.elapsed() >= self.parts.patience {
                return Err(busy());
            }
            if !std::mem::replace(&mut told, true) {
                let message = "waiting for another bootwright command to end".to_owned();
                self.parts.progress.report(ProgressEvent::Message(message));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Busy, "another bootwright command is changing this system")
        .with_hint("wait for it to end, then run this one again")
}
