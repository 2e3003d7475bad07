//! Mounts a composefs deployment as the root file system in early boot, and fails closed.
//!
//! Runs in the initramfs after `sysroot.mount`, which has mounted the physical root, and before `initrd-root-fs.target`. If
//! the root that the kernel command line names is missing or does not verify, it says so on the console and fails; its unit
//! then reboots the machine, so that the boot loader's fallback can act. No other root is ever started.
//!
//! It is also what the emergency and rescue services of this initramfs run (`--refuse`): a shell, or a raw root that somebody
//! mounts from there, would be another way around the verification.

mod cmdline;
mod console;
mod error;
mod fstab;
mod image;
mod layout;
mod marks;
mod mount;
mod options;
mod root;
mod scratch;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use rustix::mount::{UnmountFlags, unmount};

use error::{Doing, Result};
use options::{Action, MountOptions};

fn main() -> ExitCode {
    let action = match options::parse(std::env::args_os().skip(1)) {
        Ok(action) => action,
        Err(message) => {
            console::alert(&message);
            return ExitCode::FAILURE;
        }
    };
    match action {
        Action::Refuse(reason) => refuse(&reason, Path::new(options::SYSROOT)),
        Action::Mount(options) => match mount_root(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) if options.is_real() => refuse(&cause.to_string(), &options.sysroot),
            Err(cause) => {
                console::alert(&cause.to_string());
                ExitCode::FAILURE
            }
        },
    }
}

fn mount_root(options: &MountOptions) -> Result<()> {
    let cmdline = match &options.cmdline {
        Some(given) => given.clone(),
        None => std::fs::read_to_string("/proc/cmdline").doing("read /proc/cmdline")?,
    };
    let root = cmdline::parse(&cmdline).map_err(|cause| error::Error::new(cause.to_string()))?;
    if options.is_real() {
        reboot_after_panic(&cmdline);
        root::name_block_device(&options.sysroot);
    }
    let places =
        root::Places { sysroot: &options.sysroot, target: options.target(), scratch: &options.scratch };
    root::set_up(&root, &places)?;
    if options.is_real() {
        // If it fails, only a restart of user space alone is worse than it could be.
        let _ = mark_mounts(places.target);
    }
    let verity = if root.verity_required { "required" } else { "not required" };
    console::info(&format!("composefs image {} is the root, fs-verity {verity}", root.digest));
    Ok(())
}

/// A kernel that panics stands still for ever, if nothing was said about it: a trial would never end. The command line of a sealed UKI is its maker's, so
/// it is said here, as soon as anything can be. The system's own sysctl.d(5) may say something else later.
fn reboot_after_panic(cmdline: &str) {
    const SECONDS: &str = "10";
    if !cmdline.split_whitespace().any(|argument| argument.starts_with("panic=")) {
        // If it fails, the boot is no worse than before.
        #[expect(clippy::disallowed_methods, reason = "it is on no disk")]
        let _ = std::fs::write("/proc/sys/kernel/panic", SECONDS);
    }
}

/// Tells systemd that the mounts of the root at `target` stay.
#[expect(clippy::disallowed_methods, reason = "it is on no disk")]
fn mark_mounts(target: &Path) -> io::Result<()> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    std::fs::create_dir_all(marks::FOLDER)?;
    let mut utab = std::fs::File::options().create(true).append(true).open(marks::UTAB)?;
    utab.write_all(marks::lines(&mountinfo, &target.to_string_lossy(), &["/var", "/sysroot"]).as_bytes())
}

/// Says why, takes the raw root away from whoever might start it, and fails.
fn refuse(reason: &str, sysroot: &Path) -> ExitCode {
    console::alert(&format!("{reason}; no other root is started, rebooting"));
    let _ = unmount(sysroot, UnmountFlags::DETACH);
    ExitCode::FAILURE
}
