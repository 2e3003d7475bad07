//! Registration.

use std::sync::Arc;

use bootwright_core::{
    capability::BackendCapabilities, context::BackendContext, inventory, registry::BackendPlugin,
};

use crate::backend::OstreeBackend;

/// What the backend can do.
pub(crate) const CAPABILITIES: BackendCapabilities = BackendCapabilities {
    // libostree verifies reads only where it is built with composefs, which common packages of it are not.
    verified_root: false,
    offline_seal: false,
    // The link has the slot in its name, and that depends on what is published.
    predictable_root_args: false,
    root_filesystems: &["ext4", "xfs", "btrfs"],
};

inventory::submit! {
    BackendPlugin {
        name: "ostree",
        summary: "an OSTree repository, and a folder of hard links for each deployment",
        capabilities: CAPABILITIES,
        detect: |context| Ok(exists(context)),
        open: |context| Ok(Arc::new(OstreeBackend::new(context))),
        mkfs_args: |_, _| Vec::new(),
        seal_offline: |_| Ok(()),
    }
}

/// Whether there is a repository. One that somebody else made holds no deployment of ours, and does no harm.
fn exists(context: &BackendContext) -> bool {
    context.sysroot.exists("ostree/repo/config") && context.sysroot.exists("ostree/bootwright")
}
