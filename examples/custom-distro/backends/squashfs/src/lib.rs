//! A storage backend: each deployment is one squashfs image in a file, which early boot mounts through a loop device.
//!
//! | on the physical root | what |
//! |---|---|
//! | `/tide/{layers,images}/` | layers of images, and which image has which: core's `LayerStore` |
//! | `/tide/squashfs/<sha256>.squashfs` | the trees, by the digest of the file: the root argument is `tide.image=<sha256>` |
//! | `/tide/deploy/<sha256>/` | a deployment: `deployment.json`, its `etc`, and the link `var` |
//! | `/tide/var/<stateroot>/` | the shared `/var` |
//!
//! What this backend does not promise, it does not claim: the kernel does not verify what it reads from the image, so an install needs
//! `--allow-missing-verity`; and the digest depends on the version of squashfs-tools, so it is known only when the image was made.

mod backend;
mod deploy;
mod squash;

use std::sync::Arc;

use bootwright_core::{
    capability::BackendCapabilities,
    inventory,
    registry::{BackendPlugin, Verification},
};

pub use backend::SquashfsBackend;

const TOP: &str = "tide";

const CAPABILITIES: BackendCapabilities = BackendCapabilities {
    verified_root: false,
    offline_seal: false,
    predictable_root_args: false,
    root_filesystems: &["ext4", "btrfs", "xfs"],
};

inventory::submit! {
    BackendPlugin {
        name: "squashfs",
        summary: "one squashfs image in a file for each deployment, mounted through a loop device",
        capabilities: CAPABILITIES,
        verification: Verification::ByDefault,
        detect: |context| Ok(context.sysroot.exists(TOP)),
        open: |context| Ok(Arc::new(SquashfsBackend::new(context))),
        mkfs_args: |_, _| Vec::new(),
        seal_offline: |_| Ok(()),
    }
}
