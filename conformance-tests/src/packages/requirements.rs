//! Which tools are needed, how to see that one is there, and the package that has it on each distribution.

use std::path::Path;

use crate::host;

/// How to see that something is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A program, in `PATH` or the system folders.
    Program(&'static str),
    /// Any one of these files.
    AnyFile(&'static [&'static str]),
}

/// Something that must be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// How to see that it is there.
    pub probe: Probe,
    /// What needs it, for the message to a human.
    pub purpose: &'static str,
    /// Package on Debian.
    pub debian: &'static str,
    /// Package on Fedora.
    pub fedora: &'static str,
    /// Package on Arch Linux.
    pub arch: &'static str,
}

impl Requirement {
    /// Whether it is there.
    pub fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => host::find_program(name).is_some(),
            Probe::AnyFile(files) => files.iter().any(|file| Path::new(file).exists()),
        }
    }
}

const fn program(
    name: &'static str,
    purpose: &'static str,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
) -> Requirement {
    Requirement { probe: Probe::Program(name), purpose, debian, fedora, arch }
}

const fn files(
    files: &'static [&'static str],
    purpose: &'static str,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
) -> Requirement {
    Requirement { probe: Probe::AnyFile(files), purpose, debian, fedora, arch }
}

const FIRMWARE: &[&str] = &[
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
];
const SECURE_FIRMWARE: &[&str] = &[
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
    "/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd",
];
const DEBIAN_KEYS: &[&str] = &[
    "/usr/share/keyrings/debian-archive-trixie-stable.gpg",
    "/usr/share/keyrings/debian-archive-trixie-stable.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Everything that is needed to build, compose images, and run the tests and the demo.
pub const REQUIREMENTS: [Requirement; 31] = [
    program("pkg-config", "the build", "pkg-config", "pkgconf-pkg-config", "pkgconf"),
    files(&["/usr/include/openssl/ssl.h"], "the build", "libssl-dev", "openssl-devel", "openssl"),
    files(&["/usr/include/ostree-1/ostree.h"], "the build", "libostree-dev", "ostree-devel", "ostree"),
    files(&["/usr/include/zstd.h"], "the build", "libzstd-dev", "libzstd-devel", "zstd"),
    program("ostree", "tests of OSTree", "ostree", "ostree", "ostree"),
    program("grub-mkimage", "disks", "grub-common", "grub2-tools", "grub"),
    files(
        &["/usr/bin/grub-fstest", "/usr/bin/grub2-fstest"],
        "power cuts",
        "grub-common",
        "grub2-tools-extra",
        "grub",
    ),
    files(
        &["/usr/lib/grub/x86_64-efi/moddep.lst"],
        "tests of GRUB",
        "grub-efi-amd64-bin",
        "grub2-efi-x64-modules",
        "grub",
    ),
    files(&["/usr/lib/grub/i386-pc/moddep.lst"], "tests of GRUB", "grub-pc-bin", "grub2-pc-modules", "grub"),
    program("mmdebstrap", "composing images", "mmdebstrap", "mmdebstrap", "mmdebstrap"),
    program("arch-test", "composing images", "arch-test", "arch-test", "arch-test"),
    files(
        DEBIAN_KEYS,
        "composing images",
        "debian-archive-keyring",
        "debian-keyring",
        "debian-archive-keyring",
    ),
    program("unshare", "composing images", "util-linux", "util-linux", "util-linux"),
    program("mount", "composing images", "mount", "util-linux", "util-linux"),
    program("zstd", "composing images", "zstd", "zstd", "zstd"),
    program("sqfstar", "the example of a distribution", "squashfs-tools", "squashfs-tools", "squashfs-tools"),
    program("skopeo", "fetching images", "skopeo", "skopeo", "skopeo"),
    program(
        "docker-registry",
        "tests of registries",
        "docker-registry",
        "docker-distribution",
        "distribution-registry",
    ),
    program(
        "qemu-system-x86_64",
        "virtual machines",
        "qemu-system-x86",
        "qemu-system-x86-core",
        "qemu-system-x86",
    ),
    program("qemu-img", "virtual machines", "qemu-utils", "qemu-img", "qemu-img"),
    files(FIRMWARE, "virtual machines", "ovmf", "edk2-ovmf", "edk2-ovmf"),
    files(SECURE_FIRMWARE, "tests of Secure Boot", "ovmf", "edk2-ovmf", "edk2-ovmf"),
    program("sbsign", "tests of Secure Boot", "sbsigntool", "sbsigntools", "sbsigntools"),
    program("openssl", "tests of Secure Boot", "openssl", "openssl", "openssl"),
    program("gpg", "tests of image signatures", "gpg", "gnupg2", "gnupg"),
    program("sfdisk", "disks", "fdisk", "util-linux", "util-linux"),
    program("mcopy", "disks", "mtools", "mtools", "mtools"),
    program("mkfs.vfat", "disks", "dosfstools", "dosfstools", "dosfstools"),
    program("mke2fs", "disks", "e2fsprogs", "e2fsprogs", "e2fsprogs"),
    program("mkfs.xfs", "disks", "xfsprogs", "xfsprogs", "xfsprogs"),
    program("mkfs.btrfs", "disks", "btrfs-progs", "btrfs-progs", "btrfs-progs"),
];

/// What of [`REQUIREMENTS`] is not installed.
pub fn missing() -> Vec<Requirement> {
    REQUIREMENTS.into_iter().filter(|requirement| !requirement.is_met()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_every_system_has_is_seen() {
        assert!(program("sh", "", "", "", "").is_met());
        assert!(!program("no-such-program-anywhere", "", "", "", "").is_met());
    }

    #[test]
    fn one_of_several_files_is_enough() {
        assert!(files(&["/no/such/file", "/"], "", "", "", "").is_met());
        assert!(!files(&["/no/such/file"], "", "", "", "").is_met());
    }
}
