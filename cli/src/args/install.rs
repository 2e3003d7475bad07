//! `install`: to a disk that will be made anew, or into file systems that are mounted.

use std::path::PathBuf;

use bootwright_core::model::{ImageReference, KernelArg, Stateroot};
use clap::{Args, Subcommand};

use super::IMAGE_FORMS;
use crate::disk::ByteSize;

/// Where to install to.
#[derive(Debug, Subcommand)]
pub enum InstallCommand {
    /// Partition and format a disk or an image file, and install to it.
    ToDisk(ToDisk),
    /// Install to file systems that were made and mounted before.
    ToFilesystem(ToFilesystem),
}

/// What every install needs to know.
#[derive(Debug, Clone, Args)]
pub struct InstallOptions {
    /// The image to install.
    #[arg(long, value_name = "IMAGE", help = format!("The image to install: {IMAGE_FORMS}"))]
    pub image: ImageReference,
    /// The image that upgrades follow, if it is not the one that is installed.
    #[arg(long, value_name = "IMAGE")]
    pub target_imgref: Option<ImageReference>,
    /// The storage backend; `plugins` lists them.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// The bootloader; `plugins` lists them.
    #[arg(long, value_name = "NAME")]
    pub boot: Option<String>,
    /// A kernel argument to add; may be given several times.
    #[arg(long, value_name = "ARG", value_parser = kernel_arg, allow_hyphen_values = true)]
    pub karg: Vec<KernelArg>,
    /// Name of the folder that keeps /var for all deployments [default: default].
    #[arg(long, value_name = "NAME")]
    pub stateroot: Option<Stateroot>,
    /// Install also where the kernel cannot verify what it reads from the disk. Recorded, and shown by `status`.
    #[arg(long)]
    pub allow_missing_verity: bool,
    /// Insist on reads that the kernel verifies, also with a storage backend that does without by default: where that backend, the host or the image cannot, the
    /// install is refused.
    #[arg(long, conflicts_with = "allow_missing_verity")]
    pub require_verity: bool,
    /// Make a disk for any machine: do not register it with the firmware of this one.
    #[arg(long)]
    pub generic_image: bool,
}

/// Options of `install to-disk`.
#[derive(Debug, Clone, Args)]
pub struct ToDisk {
    /// What to install.
    #[command(flatten)]
    pub install: InstallOptions,
    /// The disk (/dev/…) or image file.
    pub target: PathBuf,
    /// The target is an image file. Found out without this option, too; with it, a block device is refused.
    #[arg(long)]
    pub via_loopback: bool,
    /// Make the image file with this size if it does not exist.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub disk_size: Option<ByteSize>,
    /// Overwrite what is on the disk. A disk that is in use is refused in any case.
    #[arg(long)]
    pub wipe: bool,
    /// Type of the root file system: ext4, btrfs or xfs, as far as the storage backend can use it.
    #[arg(long, value_name = "TYPE")]
    pub filesystem: Option<String>,
    /// Size of the EFI system partition.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "512M")]
    pub esp_size: ByteSize,
    /// Make a separate boot partition of this size, if the bootloader has a use for one.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub boot_partition: Option<ByteSize>,
    /// Type of the separate boot file system, as far as the bootloader can read it [default: what it likes best].
    #[arg(long, value_name = "TYPE", value_parser = ["ext4", "xfs", "btrfs", "vfat"], requires = "boot_partition")]
    pub boot_filesystem: Option<String>,
    /// Size of the root partition [default: the rest of the disk].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub root_size: Option<ByteSize>,
}

/// Options of `install to-filesystem`.
#[derive(Debug, Clone, Args)]
pub struct ToFilesystem {
    /// What to install.
    #[command(flatten)]
    pub install: InstallOptions,
    /// Where the new root file system is mounted.
    pub root: PathBuf,
    /// Where the EFI system partition is mounted [default: boot/efi, efi or boot below the root].
    #[arg(long, value_name = "PATH")]
    pub esp: Option<PathBuf>,
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|error: bootwright_core::Error| with_hint(&error))
}

fn kernel_arg(text: &str) -> Result<KernelArg, String> {
    KernelArg::new(text).map_err(|error| with_hint(&error))
}

fn with_hint(error: &bootwright_core::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}
