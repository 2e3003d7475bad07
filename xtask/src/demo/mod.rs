//! `cargo xtask demo`: the whole life of an installed system, to watch.

mod guest;
mod image;
mod show;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bootwright_conformance::{
    images::Cache,
    lifecycle::{Cell, IMAGES_LABEL, Installation, Site, install},
    packages,
    system::{KernelFormat, Systems},
    vm::{Disk, Vm},
};

use image::Images;
use show::Show;

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Storage backend of the installed system
    #[arg(long, default_value = "composefs")]
    backend: String,
    /// Bootloader of the installed system
    #[arg(long, default_value = "uki")]
    boot: String,
    /// How the kernel comes in the image
    #[arg(long, value_enum, default_value = "split")]
    format: Format,
    /// Leave disk and firmware variables under target/demo, and print the command that boots them by hand
    #[arg(long)]
    keep: bool,
    /// An image of your own (oci:, oci-archive:, docker://, containers-storage:) with a separate kernel and initramfs; the
    /// demo adds its guest agent and, if it has none, bootwright
    #[arg(long)]
    image: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Kernel and initramfs beside the modules
    Split,
    /// One UKI, sealed to the image
    Unified,
}

impl From<Format> for KernelFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Split => Self::Split,
            Format::Unified => Self::Unified,
        }
    }
}

/// Shows it.
///
/// # Errors
/// When a step does not succeed; the message says which, and has the output of the program that failed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut show = Show::start();
    show.step("install what the demo needs from the system's packages", |show| {
        packages::ensure_installed(&|line| show.say(line)).map(drop)
    })?;
    let systems = show.step("build bootwright, its early-boot program and the guest agent", |_| {
        Systems::new(Cache::in_target_dir()?.with_progress(show::line))?.for_backend(&arguments.backend)
    })?;
    let images = show.step("compose two versions of an operating system image", |_| {
        Images::make(&systems, arguments.format.into(), arguments.image.as_deref())
    })?;
    let folder = Folder::make(arguments.keep)?;
    let cell = Cell::new(&arguments.backend, &arguments.boot, arguments.format.into());
    let site = Site::make(&folder.path().join("site"), &[("v1", &images.one), ("v2", &images.two)])?;
    let installation = show.step(&format!("install version 1 on a disk image ({cell})"), |_| {
        install(
            &systems.programs().bootwright,
            &cell,
            &images.one,
            &folder.path().join("disk.img"),
            &[],
            true,
        )
    })?;
    let vm = machine(&folder, &installation, &site)?;
    let by_hand = vm.qemu_command_line();
    guest::live(&mut show, vm)?;
    show.summary();
    if arguments.keep {
        println!("\nThe disk is {}. To boot it by hand:\n{by_hand}", installation.disk.display());
    }
    Ok(())
}

fn machine(folder: &Folder, installation: &Installation, site: &Site) -> Result<Vm> {
    let builder = Vm::builder("demo").disk(Disk::raw(&installation.disk));
    builder.keep_in(folder.path().join("machine")).folder(IMAGES_LABEL, site.folder()).build()
}

/// Where disk and machine are: removed at the end, or kept.
#[derive(Debug)]
enum Folder {
    Kept(PathBuf),
    Removed(tempfile::TempDir),
}

impl Folder {
    /// Below the target folder, so that images are hard links and nothing large lands on a small `/tmp`.
    fn make(keep: bool) -> Result<Self> {
        let parent = Cache::in_target_dir()?.dir().join("..").canonicalize()?;
        if !keep {
            return Ok(Self::Removed(tempfile::tempdir_in(parent)?));
        }
        let folder = parent.join("demo");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self::Kept(folder))
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Kept(path) => path,
            Self::Removed(folder) => folder.path(),
        }
    }
}
