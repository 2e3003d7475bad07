//! Registration, and the parts of an install that come before and after the store is in use.

use std::{path::Path, sync::Arc};

use bootwright_core::{
    capability::BackendCapabilities,
    context::{BackendContext, OfflineRoot, Sealing as SealingTime},
    error::{Error, IoContext, Result},
    fs_verity, inventory,
    registry::{BackendPlugin, Verification, Verity},
};
use composefs::fsverity::Algorithm;

use crate::{
    backend::ComposefsBackend,
    repo::{self, REPOSITORY, with_repo},
    seal::{self, Sealing},
};

/// What the backend can do at best.
pub(crate) const CAPABILITIES: BackendCapabilities = BackendCapabilities {
    verified_root: true,
    offline_seal: true,
    predictable_root_args: true,
    // Two deployments of one root share its /etc.
    root_filesystems: &["ext4", "btrfs", "xfs"],
};

/// File in the folder for notes that says which inodes are to be sealed.
const NOTE: &str = "composefs-seal.json";

inventory::submit! {
    BackendPlugin {
        name: "composefs",
        summary: "content-addressed objects and one EROFS image for each deployment, verified by the kernel at every read",
        capabilities: CAPABILITIES,
        verification: Verification::ByDefault,
        detect: |context| Ok(repo::exists(context)),
        open: |context| Ok(Arc::new(ComposefsBackend::new(context))),
        mkfs_args: fs_verity::mkfs_args,
        seal_offline,
    }
}

/// The half of sealing that needs the mounted file system; see `StorageBackend::seal`.
pub(crate) fn seal_mounted(context: &BackendContext, notes: &Path) -> Result<()> {
    let wanted = context.sealing == SealingTime::Offline && context.verity == Verity::Required;
    if !wanted || with_repo!(context, |repo| !repo.is_insecure()) {
        return Ok(());
    }
    let algorithm = match repo::algorithm(context)? {
        Algorithm::Sha256 { .. } => seal::Algorithm::Sha256,
        Algorithm::Sha512 { .. } => seal::Algorithm::Sha512,
    };
    context.sysroot.faults().before("append fs-verity metadata to the repository")?;
    let sealing = seal::append_repository(context.sysroot.sub(REPOSITORY)?.dir(), algorithm)?;
    let path = notes.join(NOTE);
    #[expect(clippy::disallowed_methods, reason = "notes are not on the disk that is installed")]
    let written = std::fs::write(&path, sealing.to_notes());
    written.context_io(|| format!("write {}", path.display()))
}

fn seal_offline(root: &OfflineRoot) -> Result<()> {
    let path = root.scratch.join(NOTE);
    let notes = match std::fs::read_to_string(&path) {
        Ok(notes) => notes,
        // Nothing was left to do.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
    };
    Sealing::from_notes(&notes)?.finish(&root.device).map(drop)
}
