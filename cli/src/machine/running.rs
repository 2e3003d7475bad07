//! The running system: where its physical root is, and how it becomes writable for this command alone.

use std::path::Path;

use bootwright_core::{
    IoContext, Result,
    fs::{Faults, Root},
    model::KernelCmdline,
};
use rustix::{fs::StatVfsMountFlags, mount::MountFlags};

use super::{Access, Machine, Mounts, boot_id, esp, firmware, firmware_kind};
use crate::disk::{folder::MountFolder, identify::boot_disk, mount::is_mount_point};

impl Machine {
    /// The running system, or `None` if nothing is mounted at `sysroot`: it has no physical root apart from its own then, and is none of ours.
    ///
    /// The calling thread must be in a mount namespace of its own ([`super::namespace::enter`]).
    ///
    /// # Errors
    /// `NotFound` if there is no EFI system partition; else as mounting fails.
    pub fn running(sysroot: &Path, access: Access) -> Result<Option<Self>> {
        if !is_mount_point(sysroot) {
            return Ok(None);
        }
        if access == Access::Write {
            make_writable(sysroot)?;
        }
        let efi = firmware();
        let found = esp::find(sysroot, &*efi)?;
        let folder = MountFolder::new()?;
        let (esp_at, boot_at) = (folder.sub("esp")?, folder.sub("xbootldr")?);
        let mut mounts = vec![esp::mount(&found.esp.node, &esp_at, access)?];
        let mut xbootldr = None;
        if let Some(located) = &found.xbootldr {
            mounts.push(esp::mount(&located.node, &boot_at, access)?);
            xbootldr = Some(Root::open(&boot_at, Faults::none())?);
        }
        Ok(Some(Self {
            sysroot: Root::open(sysroot, Faults::none())?,
            running_root: Some(Root::open("/", Faults::none())?),
            esp: Root::open(&esp_at, Faults::none())?,
            xbootldr,
            esp_partition: Some(found.esp.partition.identity),
            disk: Some(boot_disk(&found.esp)?),
            firmware: firmware_kind(),
            efi,
            cmdline: running_cmdline()?,
            boot_id: boot_id()?,
            _mounts: Mounts { _mounts: mounts, _folder: Some(folder) },
        }))
    }
}

fn running_cmdline() -> Result<KernelCmdline> {
    let path = "/proc/cmdline";
    let text = std::fs::read_to_string(path).context_io(|| format!("read {path}"))?;
    Ok(KernelCmdline::parse_lossy(&text))
}

/// Lifts the read-only flag of the mount, in this namespace only; of the whole file system only if that is read-only too.
pub(super) fn make_writable(at: &Path) -> Result<()> {
    let what = || format!("make {} writable", at.display());
    rustix::mount::mount_remount(at, MountFlags::BIND, "").context_io(what)?;
    if is_read_only(at)? {
        rustix::mount::mount_remount(at, MountFlags::empty(), "").context_io(what)?;
    }
    Ok(())
}

fn is_read_only(at: &Path) -> Result<bool> {
    let flags = rustix::fs::statvfs(at).context_io(|| format!("look at {}", at.display()))?.f_flag;
    Ok(flags.contains(StatVfsMountFlags::RDONLY))
}
