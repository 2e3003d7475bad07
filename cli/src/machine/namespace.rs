//! A private mount namespace: what a command mounts, or makes writable, nobody else sees, and it is gone when the command ends,
//! however it ends.

use bootwright_core::{IoContext, Result};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

/// Moves this thread, and all that it will start, into a mount namespace of its own.
///
/// To be called before any other thread is started: threads that run already stay where they are.
///
/// # Errors
/// `Permission` for anybody but root.
pub fn enter() -> Result<()> {
    unshare()?;
    // A new namespace still passes its mounts on to the old one, if the system made them shared, as systemd does.
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).context_io(|| "make mounts private".to_owned())
}

#[expect(
    unsafe_code,
    reason = "the call is unsafe for the sake of UnshareFlags::FILES only, which is not used"
)]
fn unshare() -> Result<()> {
    // SAFETY: a mount namespace changes which files paths lead to; no open file descriptor is affected.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .context_io(|| "enter a private mount namespace".to_owned())
}
