//! Direct questions to plugins, for worlds that have them at hand.

use bootwright_core::{
    Bootloader, StorageBackend,
    model::{BootPlan, PlannedEntry},
};
use sha2::{Digest as _, Sha256};

use super::PluginCall;
use crate::suite::Result;

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Asks for what the capabilities exclude, as an engine that does not look at them would.
///
/// # Errors
/// The refusal, as is to be hoped.
pub async fn ask(backend: &dyn StorageBackend, loader: &dyn Bootloader, call: PluginCall) -> Result<()> {
    let _ = (backend, loader, call);
    let _ = std::any::type_name::<(BootPlan, PlannedEntry)>();
    Err(anyhow::anyhow!("not yet").into())
}
