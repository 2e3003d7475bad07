//! Opening plugins, the only way in which anything but their own tests should.

use std::sync::Arc;

use super::{backend, loader};
use crate::{
    backend::StorageBackend,
    bootloader::Bootloader,
    context::{BackendContext, BootContext},
    error::{Error, Result},
    registry::{BackendPlugin, BootloaderPlugin, Verification, Verity},
};

/// Whether a store of this plugin can be what is demanded. To be asked before a disk is made for it.
///
/// # Errors
/// `Unsupported` where reads must be verified and the plugin has no `verified_root`, or this host lacks what it takes.
pub fn check_verity(plugin: &BackendPlugin, demand: Verity) -> Result<()> {
    check_capability(plugin, demand)?;
    match plugin.verification {
        Verification::OnRequest(check) if demand == Verity::Required => check(),
        _ => Ok(()),
    }
}

fn check_capability(plugin: &BackendPlugin, demand: Verity) -> Result<()> {
    if demand == Verity::Optional || plugin.capabilities.verified_root {
        return Ok(());
    }
    let message = format!(
        "the storage backend {} cannot make the kernel verify what it reads (verified-root)",
        plugin.name
    );
    Err(Error::unsupported(message).with_hint(
        "install with --allow-missing-verity, or choose another backend (`bootwright plugins` lists them)",
    ))
}

/// Opens a backend behind the layer that checks, explains and traces every call.
///
/// # Errors
/// `Unsupported` where reads must be verified and the plugin has no `verified_root`; else those of the plugin.
pub fn open_backend(plugin: &BackendPlugin, context: BackendContext) -> Result<Arc<dyn StorageBackend>> {
    // Not what the host lacks: a system that was made where it had that still has to be read, and left.
    check_capability(plugin, context.verity)?;
    Ok(backend(plugin.name, (plugin.open)(context)?))
}

/// Opens a bootloader behind the layer that checks, explains and traces every call.
///
/// # Errors
/// Those of the plugin.
pub fn open_loader(plugin: &BootloaderPlugin, context: BootContext) -> Result<Arc<dyn Bootloader>> {
    Ok(loader(plugin.name, (plugin.open)(context)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capability::BackendCapabilities, error::ErrorKind, fake::FakeBackend};

    const PLAIN: BackendPlugin = BackendPlugin {
        name: "plain",
        summary: "",
        capabilities: BackendCapabilities { verified_root: false, ..FakeBackend::CAPABILITIES },
        verification: Verification::ByDefault,
        detect: |_| Ok(false),
        open: |_| Err(Error::internal("it was opened")),
        mkfs_args: |_, _| Vec::new(),
        seal_offline: |_| Ok(()),
    };

    /// spec: BW-006
    #[test]
    fn a_demand_for_verified_reads_is_refused_before_the_plugin_is_opened() {
        let refused = check_verity(&PLAIN, Verity::Required).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.hint().unwrap().contains("--allow-missing-verity"));
        check_verity(&PLAIN, Verity::Optional).unwrap();
    }

    const LACKING: BackendPlugin = BackendPlugin {
        capabilities: FakeBackend::CAPABILITIES,
        verification: Verification::OnRequest(|| Err(Error::unsupported("a library is missing"))),
        ..PLAIN
    };

    /// spec: BW-006
    #[test]
    fn a_host_that_lacks_what_verified_reads_take_is_named_before_the_plugin_is_opened() {
        let refused = check_verity(&LACKING, Verity::Required).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("a library is missing"));
        check_verity(&LACKING, Verity::Optional).unwrap();
        assert!(!LACKING.capabilities_here().verified_root);
    }
}
