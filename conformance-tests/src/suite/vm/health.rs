//! What is done to an image so that its boots fail in a certain way.

use anyhow::{Context as _, Result, ensure};

use crate::{
    images::{Edits, KARGS_FILE, OciImage, UNIT_FOLDER},
    suite::Health,
};

/// No file system knows this option: the initramfs cannot mount the root.
pub const NO_ROOT_ARGUMENT: &str = "rootflags=no_such_option_of_any_file_system";

/// Before anything else: the boot never completes.
const PANIC: &str = "[Unit]\nDescription=Panic, as a broken update would\nDefaultDependencies=no\nBefore=sysinit.target\n\n\
    [Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo c > /proc/sysrq-trigger'\n";
/// Nobody knows this type.
const NO_FILE_SYSTEM: &str = "[Unit]\nDescription=A file system that cannot be mounted\nBefore=local-fs.target\n\n\
    [Mount]\nWhat=none\nWhere=/mnt\nType=no-such-type\n";
const HANG: &str = "[Unit]\nDescription=Hang, as a broken update would\nDefaultDependencies=no\nBefore=sysinit.target\n\n\
    [Service]\nType=oneshot\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n";
const CHECK_FAILS: &str = "[Unit]\nDescription=A health check that fails\nBefore=boot-complete.target\n\n\
    [Service]\nType=oneshot\nExecStart=/bin/false\n";
const CHECK_HANGS: &str = "[Unit]\nDescription=A health check that never ends\nBefore=boot-complete.target\n\n\
    [Service]\nType=oneshot\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n";
/// Long enough for a boot that is good, even in an emulated machine on a busy host.
const SHORT_PATIENCE: &str = "[Unit]\nJobTimeoutSec=45s\n";
/// The first process crashes: by default it then stops doing anything, and so feeds no watchdog (systemd-system.conf(5), `CrashAction=`).
const FREEZE: &str = "[Unit]\nDescription=Freeze, as a broken update would\nBefore=boot-complete.target\n\n\
    [Service]\nType=oneshot\nExecStart=/bin/sh -c 'modprobe i6300esb; \
    until test \"$(cat /sys/class/watchdog/watchdog0/state)\" = active; do sleep 1; done; kill -SEGV 1; sleep infinity'\n";
const WATCHDOG: &str = "[Manager]\nRuntimeWatchdogSec=15s\n";

/// The usual arguments without `panic=`.
///
/// # Errors
/// When the image has none.
pub fn silent_about_panics(image: &OciImage) -> Result<String> {
    let text = image.read_file(KARGS_FILE)?.context("an image without kernel arguments")?;
    let text = String::from_utf8(text)?;
    let silent = text.replace("\"panic=1\", ", "");
    ensure!(!silent.contains("panic"), "cannot take panic= out of {text}");
    Ok(silent)
}

/// Adds what makes boots fail in this way.
pub fn break_as(edits: Edits, health: Health) -> Edits {
    match health {
        Health::Good | Health::NoRoot | Health::KernelFails => edits,
        Health::NeverComesUp | Health::Panics => unit(edits, PANIC, "sysinit.target.wants"),
        Health::CheckFails => unit(edits, CHECK_FAILS, "boot-complete.target.requires"),
        Health::Emergency => edits.unit(Health::MOUNT, NO_FILE_SYSTEM, "local-fs.target.requires"),
        Health::HangsEarly => impatient(unit(edits, HANG, "sysinit.target.wants")),
        Health::CheckHangs => impatient(unit(edits, CHECK_HANGS, "boot-complete.target.requires")),
        Health::Freezes => unit(edits, FREEZE, "boot-complete.target.requires").write(
            "/usr/lib/systemd/system.conf.d/50-watchdog.conf",
            WATCHDOG,
            0o644,
        ),
    }
}

fn impatient(edits: Edits) -> Edits {
    edits.write(&format!("{UNIT_FOLDER}/bootwright-confirm.service.d/50-short.conf"), SHORT_PATIENCE, 0o644)
}

fn unit(edits: Edits, text: &str, wanted: &str) -> Edits {
    edits.unit(Health::UNIT, text, wanted)
}
