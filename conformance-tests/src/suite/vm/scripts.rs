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

/// What programs of other projects say against what was written, or do not say although this bootloader writes it for them, a line each.
///
/// # Errors
/// When the script does not succeed.
pub fn complaints(guest: &mut Guest, bootloader: &str) -> Result<Vec<String>> {
    Ok(run(guest, COMPLAINTS, bootloader)?.lines().map(str::to_owned).collect())
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

    use super::*;

    const CONF: &str = "run/bootwright-suite-esp/loader/entries/bootwright-a+2-1.conf";
    const UKI: &str = "run/bootwright-suite-esp/EFI/Linux/bootwright-a-01.efi";

    /// A machine's files in a folder, with programs that say what they are told to.
    struct Stage(tempfile::TempDir);

    impl Stage {
        /// Everybody is content here.
        fn set() -> Self {
            let stage = Self(tempfile::tempdir().unwrap());
            for folder in ["run", "sys/firmware/efi", "sysroot/ostree/repo", "sysroot/ostree/deploy/aa.0"] {
                fs::create_dir_all(stage.path(folder)).unwrap();
            }
            std::os::unix::fs::symlink("deploy/aa.0", stage.path("sysroot/ostree/boot.1")).unwrap();
            stage.has("proc/cmdline", "rw ostree=/ostree/boot.1 quiet\n");
            for file in [CONF, UKI] {
                stage.has(file, "");
            }
            stage.says("systemd-analyze", "");
            stage.says("lsblk", "echo '/dev/vda1 c12a7328-f81f-11d2-ba4b-00a0c93ec93b'");
            stage.says("mount", "[ $1 = /dev/vda1 ]");
            stage.says("umount", ":");
            stage.says("bootctl", "echo 'id: bootwright-a.conf'; echo 'id: bootwright-a-01.efi'");
            stage.says(
                "efibootmgr",
                "printf 'BootOrder: 0003,0001\\nBoot0001* Other\\nBoot0003* Bootwright 7: Debian\\tHD(1)\\n'",
            );
            stage.says("ostree", "printf '* os aa.0\\n    Version: 1\\n  os bb.0\\n'");
            stage
        }

        fn path(&self, path: &str) -> std::path::PathBuf {
            self.0.path().join(path)
        }

        fn has(&self, path: &str, text: &str) {
            fs::create_dir_all(self.path(path).parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(self.path(path), text).unwrap();
        }

        fn says(&self, program: &str, script: &str) {
            let path = format!("bin/{program}");
            self.has(&path, &format!("#!/bin/sh\n{script}\n"));
            fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn complaints(&self, bootloader: &str) -> String {
            let search = format!("{}:/usr/bin:/bin", self.path("bin").display());
            let mut shell = Command::new("sh");
            shell
                .args(["-c", COMPLAINTS, "complaints.sh", bootloader])
                .arg(self.0.path())
                .env("PATH", search);
            String::from_utf8(shell.output().unwrap().stdout).unwrap()
        }
    }

    #[test]
    fn nobody_complains_where_everything_is_as_it_must_be() {
        for bootloader in ["systemd-boot", "uki", "grub2"] {
            assert_eq!(Stage::set().complaints(bootloader), "", "{bootloader}");
        }
    }

    #[test]
    fn a_program_that_fails_or_warns_is_a_complaint() {
        let stage = Stage::set();
        stage.says("systemd-analyze", "echo 'a unit is odd' >&2");
        assert!(stage.complaints("grub2").contains("a unit is odd"));
        stage.says("bootctl", "echo 'no ESP' >&2; exit 1");
        assert!(stage.complaints("uki").contains("bootctl list "));
        stage.says("lsblk", "echo '/dev/vdb '");
        assert!(stage.complaints("uki").contains("the ESP, \"\", cannot be mounted"));
    }

    #[test]
    fn bootctl_has_to_list_what_the_bootloader_made() {
        let stage = Stage::set();
        stage.says("bootctl", ":");
        assert_eq!(stage.complaints("systemd-boot"), "bootctl does not list bootwright-a.conf\n");
        assert_eq!(stage.complaints("uki"), "bootctl does not list bootwright-a-01.efi\n");
        assert_eq!(stage.complaints("grub2"), "");
        fs::remove_file(stage.path(CONF)).unwrap();
        assert!(stage.complaints("systemd-boot").contains("no file bootwright-*.conf"));
    }

    #[test]
    fn an_option_of_ours_has_to_come_first_where_the_firmware_is_the_bootloader() {
        let stage = Stage::set();
        stage.says(
            "efibootmgr",
            "printf 'BootOrder: 0001,0003\\nBoot0001* Other\\nBoot0003* Bootwright 7: x\\n'",
        );
        assert!(stage.complaints("uki").contains("shows \"Other\" first in BootOrder"));
        assert_eq!(stage.complaints("systemd-boot"), "");
        stage.says("efibootmgr", "echo 'BootOrder: 0003'");
        assert!(stage.complaints("systemd-boot").contains("does not list Boot0003"));
        stage.says("efibootmgr", ":");
        assert!(stage.complaints("uki").contains("(empty)"));
    }

    #[test]
    fn ostree_has_to_mark_the_deployment_that_runs() {
        let stage = Stage::set();
        stage.says("ostree", "printf '  os aa.0\\n* os bb.0\\n'");
        assert!(stage.complaints("grub2").contains("does not mark aa.0"));
        fs::remove_dir_all(stage.path("sysroot/ostree/repo")).unwrap();
        assert_eq!(stage.complaints("grub2"), "");
    }
}
