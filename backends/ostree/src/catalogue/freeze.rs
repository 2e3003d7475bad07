//! Keeps libostree from freezing the file system that it writes its list to.
//!
//! It freezes and thaws `/boot` for loaders that read it without replaying a journal (libostree, `fsfreeze_thaw_cycle` in
//! src/libostree/ostree-sysroot-deploy.c). Nobody boots from its list here, and bootloaders settle what they read themselves. If the process is killed
//! in between, nothing thaws: its watchdog takes the end of the process for an answer. `/boot` is mostly on the root, and every write there
//! waits from then on, for ever.

use bootwright_core::error::{IoContext as _, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Runs `work` without the capability that freezing takes (`CAP_SYS_ADMIN`; ioctl FIFREEZE, fs/ioctl.c in Linux): libostree syncs the file system
/// instead then. Only this thread is without it, and has it again on return.
///
/// # Errors
/// As the system says; `work` is not run then.
pub(crate) fn without_freezing<T>(work: impl FnOnce() -> T) -> Result<T> {
    let what = || "give up the right to freeze file systems".to_owned();
    let before = capabilities(None).context_io(what)?;
    let effective = before.effective.difference(CapabilitySet::SYS_ADMIN);
    set_capabilities(None, CapabilitySets { effective, ..before }).context_io(what)?;
    let _restored = Restored(before);
    Ok(work())
}

/// Gives a thread these capabilities when it is dropped.
struct Restored(CapabilitySets);

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = set_capabilities(None, self.0) {
            tracing::warn!(%error, "a thread does not get its capabilities back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// spec: BW-904
    #[test]
    fn freezing_is_not_permitted_meanwhile_and_everything_is_as_before_then() {
        let before = capabilities(None).unwrap();
        let meanwhile = without_freezing(|| capabilities(None).unwrap()).unwrap();
        assert!(!meanwhile.effective.contains(CapabilitySet::SYS_ADMIN));
        assert_eq!(
            meanwhile.effective.union(CapabilitySet::SYS_ADMIN),
            before.effective.union(CapabilitySet::SYS_ADMIN)
        );
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
