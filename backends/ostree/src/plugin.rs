//! Registration.

use std::sync::Arc;

use bootwright_core::{
    capability::BackendCapabilities,
    context::BackendContext,
    fs_verity, inventory,
    registry::{BackendPlugin, Verification},
};

use crate::{backend::OstreeBackend, verified::library};

/// What the backend can do at best.
pub(crate) const CAPABILITIES: BackendCapabilities = BackendCapabilities {
    verified_root: true,
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
        // Common packages of libostree are built without composefs, and images seldom insist on it.
        verification: Verification::OnRequest(library::check),
        detect: |context| Ok(exists(context)),
        open: |context| Ok(Arc::new(OstreeBackend::new(context))),
        mkfs_args: fs_verity::mkfs_args,
        seal_offline: |_| Ok(()),
    }
}

/// Whether there is a repository. One that somebody else made holds no deployment of ours, and does no harm.
fn exists(context: &BackendContext) -> bool {
    context.sysroot.exists("ostree/repo/config") && context.sysroot.exists("ostree/bootwright")
}
