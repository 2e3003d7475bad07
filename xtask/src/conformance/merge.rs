//! `cargo xtask merge-reports`: the reports of shards, which other machines wrote, as one.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use bootwright_conformance::{
    host,
    runner::{self, Report},
};

/// The file that a run leaves for programs.
const FILE: &str = "report.json";

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folders; every report.json below them is a part
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// How many parts there must be: a shard that left no report would not be missed
    #[arg(long, value_name = "N")]
    parts: Option<usize>,
    /// Where report.html, report.xml and report.json go [default: target/merged]
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
}

/// Merges them, prints the table, and ends as the whole run would have.
///
/// # Errors
/// When a part is missing, cannot be read, or is there twice.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let report = merge(&arguments.folders, arguments.parts)?;
    let folder = arguments.report.clone().unwrap_or_else(|| host::target_dir().join("merged"));
    runner::write(&report, &folder)?;
    print!("{}", report.table());
    println!("{}", report.summary());
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn merge(folders: &[PathBuf], parts: Option<usize>) -> Result<Report> {
    let mut files = Vec::new();
    for folder in folders {
        collect(folder, &mut files)?;
    }
    files.sort();
    let wanted = parts.unwrap_or(files.len()).max(1);
    ensure!(
        files.len() == wanted,
        "{} reports are there, {wanted} should be: a part of the run has left none, or is there twice. Found: {files:?}",
        files.len()
    );
    Report::merged(files.iter().map(|file| super::read(file)).collect::<Result<_>>()?)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.file_name().is_some_and(|name| name == FILE) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(folder: &Path, name: &str, case: &str) {
        let text = format!(
            r#"{{"seconds":1,"cells":[{{"tier":"loop","backend":"a","bootloader":"b","format":"split","firmware":"uefi","cases":[
            {{"name":"{case}","spec":[],"outcome":"passed","seconds":1,"text":""}}]}}]}}"#
        );
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join(FILE), text).unwrap();
    }

    #[test]
    fn a_shard_that_left_no_report_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        part(folder.path(), "1", "x::a");
        part(folder.path(), "2/deeper", "x::b");
        let folders = [folder.path().to_owned()];
        assert_eq!(merge(&folders, Some(2)).unwrap().cells[0].cases.len(), 2);
        assert!(merge(&folders, Some(3)).unwrap_err().to_string().starts_with("2 reports are there, 3"));
        assert!(merge(&[tempfile::tempdir().unwrap().path().to_owned()], None).is_err(), "of nothing");
    }
}
