//! Which fuzz targets there are, and how they are built.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{steps, workspace::Workspace};

/// The crate's manifest, relative to the workspace, and its folder.
pub const MANIFEST: &str = "fuzz/Cargo.toml";
const FOLDER: &str = "fuzz";

/// What makes the compiler count edges and show comparisons to the fuzzer (LLVM, "`SanitizerCoverage`"). All of it works on stable
/// toolchains. No sanitizer is linked: there is no unsafe code of ours for it to look at.
const FLAGS: [&str; 10] = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

#[derive(Deserialize)]
struct Manifest {
    bin: Vec<Binary>,
}

#[derive(Deserialize)]
struct Binary {
    name: String,
}

/// The names of all targets, sorted.
pub fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let path = workspace.root().join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    let mut names: Vec<_> = manifest.bin.into_iter().map(|binary| binary.name).collect();
    names.sort();
    Ok(names)
}

/// Built targets.
#[derive(Debug)]
pub struct Build {
    programs: PathBuf,
    /// Where their corpora, logs and crashes go.
    pub folder: PathBuf,
    /// The committed corpora.
    pub corpora: PathBuf,
}

impl Build {
    /// Builds these targets, in a target folder of their own since every flag is another than elsewhere.
    pub fn make(workspace: &Workspace, targets: &[String]) -> Result<Self> {
        let host = host_triple()?;
        let folder = output(workspace);
        steps::run(&mut cargo_build(workspace, &host, targets))?;
        let corpora = workspace.root().join(FOLDER).join("corpus");
        Ok(Self { programs: folder.join(host).join("debug"), folder, corpora })
    }

    /// A command for one target, without arguments.
    pub fn command(&self, target: &str) -> Command {
        Command::new(self.programs.join(target))
    }
}

/// The command that builds all targets.
///
/// # Errors
/// When it is not known for which host, or which targets there are.
pub fn command(workspace: &Workspace) -> Result<Command> {
    Ok(cargo_build(workspace, &host_triple()?, &targets(workspace)?))
}

fn output(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/fuzz")
}

fn cargo_build(workspace: &Workspace, host: &str, targets: &[String]) -> Command {
    let mut command = workspace.cargo(&["build", "--locked", "--manifest-path"]);
    command.arg(MANIFEST).arg("--target-dir").arg(output(workspace));
    // With a target, cargo leaves build scripts and macros alone, which the fuzzer is not linked with.
    command.args(["--target", host]).args(targets.iter().flat_map(|target| ["--bin", target]));
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    command
}

fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc does not say for which host it is"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_target_has_a_source_and_a_small_committed_corpus() {
        let workspace = Workspace::find();
        let folder = workspace.root().join(FOLDER);
        let targets: BTreeSet<_> = targets(&workspace).unwrap().into_iter().collect();
        assert_eq!(names(&folder.join("fuzz_targets")), targets);
        assert_eq!(names(&folder.join("corpus")), targets);
        for target in targets {
            let files = fs::read_dir(folder.join("corpus").join(&target)).unwrap().count();
            assert!((1..=40).contains(&files), "{target} has {files} seeds");
        }
    }

    #[test]
    fn the_compiler_says_for_which_host_it_is() {
        assert!(host_triple().unwrap().contains('-'));
    }
}
