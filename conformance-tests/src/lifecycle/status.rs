//! `bootwright status --json`, as a program would read it.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A status document.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestStatus(Value);

impl GuestStatus {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))?))
    }

    /// Any value, by JSON pointer (RFC 6901).
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    /// Version label of the image in `slot` (`booted`, `staged`, `rollback`).
    pub fn version(&self, slot: &str) -> Option<&str> {
        self.get(&format!("/status/{slot}/image/version")).and_then(Value::as_str)
    }

    /// Deployment id in `slot`.
    pub fn deployment(&self, slot: &str) -> Option<&str> {
        self.get(&format!("/status/{slot}/bootwright/deploymentId")).and_then(Value::as_str)
    }

    /// Whether a rollback waits for a reboot.
    pub fn rollback_queued(&self) -> bool {
        self.get("/status/rollbackQueued").and_then(Value::as_bool).unwrap_or_default()
    }
}
