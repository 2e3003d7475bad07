//! What is done in the guest beyond single commands.

use anyhow::{Result, ensure};

use crate::lifecycle::Guest;

const FINGERPRINT: &str = include_str!("scripts/fingerprint.sh");
const STORED_OBJECT: &str = include_str!("scripts/stored-object.sh");
const BOOT_FILES: &str = include_str!("scripts/boot-files.sh");
const COMPLAINTS: &str = include_str!("scripts/complaints.sh");
const BRING: &str = include_str!("scripts/bring.sh");

/// Runs a script with arguments, and returns what it prints.
fn run(guest: &mut Guest, script: &str, arguments: &str) -> Result<String> {
    guest.sh(&format!("sh -s -- {arguments} <<'END_OF_SCRIPT'\n{script}\nEND_OF_SCRIPT"))
}

/// Lines of a fingerprint.
///
/// # Errors
/// When the script does not succeed.
pub fn fingerprint(guest: &mut Guest) -> Result<String> {
    run(guest, FINGERPRINT, "")
}

/// Writes what firmware and loaders read, and the ESP has not, to a disk, and makes sure that what is on the ESP is on its disk.
///
/// # Errors
/// When the script does not succeed.
pub fn boot_files(guest: &mut Guest, device: &str) -> Result<()> {
    run(guest, BOOT_FILES, device).map(drop)
}

/// What programs of other projects say against what was written, a line each.
///
/// # Errors
/// When the script does not succeed.
pub fn complaints(guest: &mut Guest) -> Result<Vec<String>> {
    Ok(run(guest, COMPLAINTS, "")?.lines().map(str::to_owned).collect())
}

/// Puts boot files and variables from a folder of the guest where they belong.
///
/// # Errors
/// When the script does not succeed.
pub fn bring(guest: &mut Guest, folder: &str) -> Result<()> {
    run(guest, BRING, folder).map(drop)
}

/// The file of the store that holds the content of `path`.
///
/// # Errors
/// When there is none.
pub fn stored_object(guest: &mut Guest, path: &str) -> Result<String> {
    let object = run(guest, STORED_OBJECT, path)?;
    ensure!(!object.is_empty(), "no object in the store holds the content of {path}");
    Ok(object)
}

/// Changes a byte of the stored file that holds the content of `path`, and sees that it is a read error then. Returns the stored file.
///
/// # Errors
/// When the changed byte is read as if it were right.
pub fn changed_byte_is_a_read_error(guest: &mut Guest, path: &str) -> Result<String> {
    let object = stored_object(guest, path)?;
    flip_byte(guest, &object)?;
    let read = guest.try_sh(&format!("cat {path} > /dev/null"))?;
    let said = read.stderr_text();
    ensure!(read.status != 0 && said.contains("Input/output error"), "a changed byte was read: {said}");
    Ok(object)
}

/// Changes one byte of a file on the disk itself, behind the file system's and fs-verity's back.
///
/// # Errors
/// When its blocks are not found.
pub fn flip_byte(guest: &mut Guest, file: &str) -> Result<()> {
    guest.sh(&format!(
        "set -eu; device=$(findmnt -no SOURCE /sysroot | sed 's/\\[.*//'); path={file}; sync
         block=$(debugfs -R \"bmap ${{path#/sysroot}} 0\" \"$device\" 2>/dev/null)
         test \"$block\" -gt 0
         printf X | dd of=\"$device\" bs=1 seek=$((block * 4096 + 1)) conv=notrunc status=none
         sync; echo 3 > /proc/sys/vm/drop_caches"
    ))?;
    Ok(())
}

/// Deletes a file below `/sysroot`, which is read-only for everybody else.
///
/// # Errors
/// When it cannot be deleted.
pub fn delete(guest: &mut Guest, file: &str) -> Result<()> {
    guest.sh(&format!(
        "unshare --mount sh -c 'mount -o remount,rw /sysroot && {{ chattr -i {file} 2>/dev/null || true; }} && rm {file}'; sync"
    ))?;
    Ok(())
}
