//! Layers around any plugin, so that plugins stay small: argument checks, error context and tracing.
//!
//! A wrapped plugin refuses an empty `keep` and whatever its capabilities exclude before the plugin sees it, names the plugin and
//! the method in every error, and logs what each call took. [`open_backend`] and [`open_loader`] are how plugins are to be opened:
//! a capability that is `false` is a promise that core keeps on the plugin's behalf, in this one place (invariant I6).

mod backend;
mod guard;
mod loader;
mod open;

pub use backend::backend;
pub use loader::loader;
pub use open::{check_verity, open_backend, open_loader};

use std::time::Instant;

use crate::error::{Error, Result};

/// Names the plugin and the method in an error, and logs what the call took.
async fn traced<T>(
    plugin: &'static str,
    method: &'static str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let start = Instant::now();
    let result = call.await;
    let took = start.elapsed();
    match &result {
        Ok(_) => tracing::debug!(plugin, method, ?took),
        Err(error) => tracing::debug!(plugin, method, ?took, %error),
    }
    result.map_err(|error| error.with_operation(method).with_context("plugin", plugin))
}

/// Deleting everything is never what somebody wants.
fn not_everything<T>(keep: &std::collections::BTreeSet<T>) -> Result<()> {
    if keep.is_empty() {
        return Err(Error::invalid("refusing to delete every deployment")
            .with_hint("this is a defect: please report it with the output of `bootwright status --json`"));
    }
    Ok(())
}
