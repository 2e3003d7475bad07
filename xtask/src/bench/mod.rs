//! `cargo xtask bench`: imports beside another tool on the same image, and boots. It measures and never judges: no figure fails.

mod boot;
mod import;
mod large;
mod measure;
mod proc;
mod report;
mod tools;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bootwright_conformance::{
    host,
    images::{Cache, Edits, OciImage, derive},
    packages,
    system::{KernelFormat, Systems},
};

use crate::workspace::Workspace;
use import::{Pair, Work};
use report::Report;
use tools::Tools;

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How often everything is repeated, the tools taking turns
    #[arg(long, default_value = "3")]
    rounds: NonZeroUsize,
    /// Also import an image with a single layer of 1.5 GiB (made once; needs 4 GiB for each round below target/bench)
    #[arg(long)]
    large: bool,
    /// Leave out the virtual machines
    #[arg(long)]
    no_boots: bool,
    /// Import this image instead of ours, as oci:FOLDER:TAG; leaves out the virtual machines
    #[arg(long)]
    image: Option<String>,
    /// Cargo profile of our program: `image` is quick to build, `release` is what is shipped
    #[arg(long, default_value = "image")]
    profile: String,
    /// Also write every single figure as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures, and shows a table.
///
/// # Errors
/// When something cannot be built or run. Never because of a figure.
pub fn run(arguments: &Arguments) -> Result<()> {
    packages::ensure_installed(&say).map(drop)?;
    let folder = folder()?;
    let tools = Tools::make(&Workspace::find(), &folder, &arguments.profile)?;
    let mut report = Report::start(&tools, arguments.rounds);
    let mut work = Work::new(&tools, &folder, arguments.rounds, &mut report);
    let systems = match &arguments.image {
        None => Some(Systems::new(Cache::in_target_dir()?.with_progress(say))?),
        Some(_) => None,
    };
    let pair = pair(systems.as_ref(), arguments.image.as_deref())?;
    work.imports(&pair)?;
    if arguments.large {
        work.large(&large::image(&folder)?)?;
    }
    if let Some(systems) = systems.filter(|_| !arguments.no_boots) {
        boot::measure(&systems, &pair.one, &folder, arguments.rounds, &mut report)?;
    }
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.finished())?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Prints a line of progress.
fn say(line: &str) {
    println!("  {line}");
}

/// Everything lies below one folder, and so on one file system.
fn folder() -> Result<PathBuf> {
    let folder = host::target_dir().join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder.canonicalize()?)
}

fn pair(systems: Option<&Systems>, own: Option<&str>) -> Result<Pair> {
    match (systems, own) {
        (Some(systems), None) => Ok(Pair {
            one: systems.image("v1", KernelFormat::Split)?,
            two: systems.image("v2", KernelFormat::Split)?,
        }),
        (_, own) => {
            let name = own.and_then(|name| name.strip_prefix("oci:")?.rsplit_once(':'));
            let (path, tag) = name.context("name the image as oci:FOLDER:TAG")?;
            let one = OciImage::new(Path::new(path).canonicalize()?, tag);
            let edits = Edits::new("bench-v2").write("/usr/share/bench/version", "v2\n", 0o644);
            Ok(Pair { two: derive(&one, &edits, &Cache::in_target_dir()?)?, one })
        }
    }
}
