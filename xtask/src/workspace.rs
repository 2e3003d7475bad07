//! The source tree: where it is, which files belong to it, and what cargo says about it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// Hidden folders that are part of the source nevertheless.
const HIDDEN_SOURCES: [&str; 4] = [".cargo", ".ci", ".config", ".github"];

/// The folder with the workspace's manifest.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

/// A text file of the source tree.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the workspace, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl SourceFile {
    /// Whether its name ends with `.` and this.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// The part of `cargo metadata`, format version 1, that checks use.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package that any target or platform may use.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SPDX expression in its manifest.
    pub license: Option<String>,
    /// Its manifest, with its whole path.
    pub manifest_path: PathBuf,
    /// Where it was downloaded from; `None` for a package of this workspace.
    pub source: Option<String>,
    /// Its features and what each turns on.
    pub features: std::collections::BTreeMap<String, Vec<String>>,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub fn find() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: manifest.parent().unwrap_or(manifest).to_owned() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A command that runs the cargo that runs us, in this workspace.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// Every source file that is text, sorted by path. Build output and hidden folders are left out.
    pub fn sources(&self) -> Result<Vec<SourceFile>> {
        let mut paths = Vec::new();
        collect(&self.root, &mut paths)?;
        paths.sort();
        Ok(paths.iter().filter_map(|path| self.source(path)).collect())
    }

    /// `None` for a file that is not UTF-8.
    fn source(&self, path: &Path) -> Option<SourceFile> {
        let text = fs::read_to_string(path).ok()?;
        let relative = path.strip_prefix(&self.root).ok()?;
        Some(SourceFile { path: relative.to_string_lossy().into_owned(), text })
    }

    /// All packages, dependencies included. Cargo may download manifests for it.
    pub fn metadata(&self) -> Result<Metadata> {
        let output = self.cargo(&["metadata", "--format-version", "1", "--locked"]).output();
        let output = output.context("cannot start cargo")?;
        if !output.status.success() {
            bail!("`cargo metadata --locked` failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata has an unexpected form")
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !HIDDEN_SOURCES.contains(&name.as_str());
        let kind = entry.file_type()?;
        // In a further worktree `.git` is a file, which says where the repository is.
        if kind.is_file() && name != ".git" {
            paths.push(entry.path());
        } else if kind.is_dir() && !hidden && name != "target" {
            collect(&entry.path(), paths)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_itself_keeps_is_no_source_in_a_further_worktree_either() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".git"), "gitdir: elsewhere").unwrap();
        fs::write(folder.path().join(".gitignore"), "target").unwrap();
        let mut paths = Vec::new();
        collect(folder.path(), &mut paths).unwrap();
        assert_eq!(paths, [folder.path().join(".gitignore")]);
    }
}
