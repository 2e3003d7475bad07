//! The command line: what can be asked for. No work is done here.

mod help;
mod install;

pub use install::{InstallCommand, InstallOptions, ToDisk, ToFilesystem};

use std::path::PathBuf;

use bootwright_core::{
    model::{DeploymentId, ImageReference},
    transport::policy::SYSTEM_POLICY,
};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::Settings;

/// How an image is written, for help texts (containers-transports(5)).
const IMAGE_FORMS: &str =
    "docker://host/name:tag, oci:/folder:tag, oci-archive:/file:tag or containers-storage:name:tag";

/// Everything on the command line.
#[derive(Debug, Parser)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalOptions {
    /// Show no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Write progress as JSON lines to this open file descriptor.
    #[arg(long, global = true, value_name = "FD")]
    pub progress_fd: Option<u32>,
    /// Work on the system whose physical root is mounted here, not on the running one.
    #[arg(long, global = true, hide = true, value_name = "PATH", requires = "system_esp")]
    pub sysroot: Option<PathBuf>,
    /// How long to wait for another command that changes the system to end.
    #[arg(long, global = true, hide = true, value_name = "SECONDS", default_value = "60")]
    pub patience: u64,
    /// The policy that decides which images are let in, containers-policy.json(5).
    #[arg(long, global = true, hide = true, value_name = "FILE", default_value = SYSTEM_POLICY)]
    pub signature_policy: PathBuf,
    /// The EFI system partition that belongs to `--sysroot`.
    #[arg(long, global = true, hide = true, value_name = "PATH", requires = "sysroot")]
    pub system_esp: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install an image on a disk, or into mounted file systems.
    #[command(subcommand)]
    Install(Box<InstallCommand>),
    /// Download a newer version of the running image, and boot it after the next shutdown.
    Upgrade(UpgradeOptions),
    /// Change to another image, from the next boot on.
    Switch(SwitchOptions),
    /// Make the previous deployment the default again, or undo that.
    Rollback(RollbackOptions),
    /// Show what is installed, what runs and what boots next.
    Status(StatusOptions),
    /// Protect a deployment from being removed.
    Pin(PinOptions),
    /// No longer protect a deployment from being removed, whether by `pin` or by a program of the store's own that pinned it.
    Unpin(PinOptions),
    /// Remove deployments, boot files and downloads that nothing needs.
    Gc,
    /// Read every stored object and compare it with its digest.
    Fsck,
    /// List the storage backends and bootloaders in this program.
    Plugins(PluginsOptions),
    /// Ask about images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// For systemd units.
    #[command(subcommand, hide = true)]
    Internals(InternalsCommand),
}

/// Options of `upgrade`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct UpgradeOptions {
    /// Only look whether there is something new; changes nothing.
    #[arg(long, conflicts_with_all = ["download_only", "apply"])]
    pub check: bool,
    /// Download and prepare, but do not boot it before `upgrade` is run again without this.
    #[arg(long, conflicts_with = "apply")]
    pub download_only: bool,
    /// Stage it even if it failed its trial on this machine, or was rolled back.
    #[arg(long, conflicts_with = "check")]
    pub retry: bool,
    /// Reboot into it at once.
    #[arg(long)]
    pub apply: bool,
}

/// Options of `switch`.
#[derive(Debug, Clone, Args)]
pub struct SwitchOptions {
    /// The image to follow from now on.
    #[arg(help = format!("The image to follow from now on: {IMAGE_FORMS}"))]
    pub image: ImageReference,
    /// Reboot into it at once.
    #[arg(long)]
    pub apply: bool,
}

/// Options of `rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackOptions {
    /// Reboot into it at once.
    #[arg(long)]
    pub apply: bool,
}

/// How `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people.
    Human,
    /// For programs: `org.containers.bootc/v1`.
    Json,
}

/// Options of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusOptions {
    /// Print JSON of the form `org.containers.bootc/v1`.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    pub format: StatusFormat,
}

impl StatusOptions {
    /// The format that was asked for.
    pub fn format(&self) -> StatusFormat {
        if self.json { StatusFormat::Json } else { self.format }
    }
}

/// Options of `pin` and `unpin`.
#[derive(Debug, Clone, Args)]
pub struct PinOptions {
    /// The deployment, as `status` shows it.
    pub deployment: DeploymentId,
}

/// Options of `plugins`.
#[derive(Debug, Clone, Args)]
pub struct PluginsOptions {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to ask about an image.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Print the kernel arguments by which an image's root is found, for sealing a UKI to it.
    RootArgs(RootArgsOptions),
}

/// Options of `image root-args`.
#[derive(Debug, Clone, Args)]
pub struct RootArgsOptions {
    /// The image.
    pub image: ImageReference,
    /// The storage backend that will hold it.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// For systems installed with the same option.
    #[arg(long)]
    pub allow_missing_verity: bool,
    /// Folder for the temporary store, which needs room for the whole image.
    #[arg(long, value_name = "PATH", default_value = "/var/tmp")]
    pub scratch: PathBuf,
}

/// What units call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum InternalsCommand {
    /// At shutdown: make the staged deployment the default.
    Finalize,
    /// Early in a boot: see to it that a deployment on trial gets all its tries, where the boot loader does not.
    TryAgain,
    /// After a good boot: stop counting tries, clean up.
    Confirm,
    /// When a boot turns out not to be good: reboot if it was a trial, so that the loader can fall back.
    Unhealthy,
    /// After boot: complain if the last shutdown did not make the staged deployment the default.
    CheckFinalized,
}

impl Cli {
    /// Reads the arguments of the program, under the program's own name.
    ///
    /// # Errors
    /// What clap reports; it prints itself, and knows its exit code.
    pub fn read(
        settings: &Settings,
        args: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Self, clap::Error> {
        let matches = help::complete(Self::command(), settings).try_get_matches_from(args)?;
        Self::from_arg_matches(&matches)
    }
}
