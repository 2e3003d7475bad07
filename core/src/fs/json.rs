//! Records: small JSON files, replaced wholly or not at all.

use serde::{Serialize, de::DeserializeOwned};

use super::{ReplaceStyle, Root};
use crate::error::{Error, Result};

impl Root {
    /// Reads a record, or `None` if there is none.
    ///
    /// # Errors
    /// `Integrity` if it cannot be understood.
    pub fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        let damaged =
            |source| Error::integrity(format!("{} is damaged", self.show(path))).with_source(source);
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Writes a record durably, unless it is the same already.
    pub fn write_json(&self, path: &str, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec_pretty(value).map_err(|source| {
            Error::internal(format!("write {} as JSON", self.show(path))).with_source(source)
        })?;
        if self.read(path)?.as_deref() == Some(json.as_slice()) {
            return Ok(());
        }
        self.replace(path, &json, ReplaceStyle::Durable)
    }
}
