//! What libostree wants to find beside the repository before it keeps deployments.

use bootwright_core::{
    context::BackendContext,
    error::{ErrorKind, Result},
};

use crate::errors::LibraryContext as _;
use crate::repo::Store;

/// Settings of the repository: libostree leaves boot loaders alone, and the physical root is read-only in a running system.
const SETTINGS: [(&str, &str); 2] = [("bootloader", "none"), ("readonly", "true")];

/// Makes the folders of an empty system root, and sets the repository up for it. The repository exists.
pub(crate) fn initialize(context: &BackendContext) -> Result<()> {
    for folder in ["boot", "ostree/deploy"] {
        context.sysroot.create_dir_all(folder)?;
    }
    let repo = Store::new(context.sysroot.clone()).open()?;
    let config = repo.copy_config();
    let wrong = |(key, value): &(&str, &str)| {
        config.string("sysroot", key).ok().is_none_or(|found| found.as_str() != *value)
    };
    if !SETTINGS.iter().any(wrong) {
        return Ok(());
    }
    for (key, value) in SETTINGS {
        config.set_string("sysroot", key, value);
    }
    context.sysroot.faults().before("configure the OSTree repository")?;
    repo.write_config(&config).or_kind(ErrorKind::Io, || "configure the OSTree repository".to_owned())
}
