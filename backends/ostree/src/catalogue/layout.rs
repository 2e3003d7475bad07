//! What libostree wants to find beside the repository before it keeps deployments.

use bootwright_core::{
    context::BackendContext,
    error::{ErrorKind, Result},
    registry::Verity,
};

use ostree_ext::ostree;

use crate::errors::LibraryContext as _;
use crate::repo::Store;
use crate::verified::store;

/// Settings of the repository: libostree leaves boot loaders alone, and the physical root is read-only in a running system.
const SETTINGS: [(&str, &str, &str); 2] =
    [("sysroot", "bootloader", "none"), ("sysroot", "readonly", "true")];

/// Makes the folders of an empty system root, and sets the repository up for it. The repository exists.
pub(crate) fn initialize(context: &BackendContext) -> Result<()> {
    for folder in ["boot", "ostree/deploy"] {
        context.sysroot.create_dir_all(folder)?;
    }
    let repo = Store::new(context.sysroot.clone()).open()?;
    let verified: &[_] = if context.verity == Verity::Required { &[store::SETTING] } else { &[] };
    configure(context, &repo, &[&SETTINGS, verified].concat())
}

fn configure(context: &BackendContext, repo: &ostree::Repo, settings: &[(&str, &str, &str)]) -> Result<()> {
    let config = repo.copy_config();
    let wrong = |(group, key, value): &(&str, &str, &str)| {
        config.string(group, key).ok().is_none_or(|found| found.as_str() != *value)
    };
    if !settings.iter().any(wrong) {
        return Ok(());
    }
    for (group, key, value) in settings {
        config.set_string(group, key, value);
    }
    context.sysroot.faults().before("configure the OSTree repository")?;
    repo.write_config(&config).or_kind(ErrorKind::Io, || "configure the OSTree repository".to_owned())
}
