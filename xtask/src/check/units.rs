//! The systemd units have no unknown setting and no syntax error, as `systemd-analyze verify` sees it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bootwright_conformance::host;

use super::Input;
use crate::workspace::SourceFile;

/// Extensions of unit files.
const KINDS: [&str; 5] = ["service", "target", "mount", "timer", "path"];

/// The program, if it is installed.
pub fn verifier() -> Option<PathBuf> {
    host::find_program("systemd-analyze")
}

/// What it complains about.
pub fn check(input: &Input, verifier: &Path) -> Result<Vec<String>> {
    let folder = input.workspace.root().join("target/xtask/units");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let is_unit = |file: &&SourceFile| KINDS.iter().any(|kind| file.is(kind));
    let mut problems = Vec::new();
    for unit in input.sources.iter().filter(is_unit) {
        problems.extend(verify(unit, &folder, verifier)?);
    }
    Ok(problems)
}

fn verify(unit: &SourceFile, folder: &Path, verifier: &Path) -> Result<Option<String>> {
    let copy = folder.join(Path::new(&unit.path).file_name().context("a unit without a name")?);
    fs::write(&copy, with_installed_programs(&unit.text))?;
    let mut command = host::command(&verifier.to_string_lossy());
    // What other units say about each other is not ours.
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&copy);
    let output = command.output().context("cannot start systemd-analyze")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then(|| format!("{}: {said}", unit.path)))
}

/// The unit with a program that exists here in the place of its own, which is only on installed systems.
fn with_installed_programs(text: &str) -> String {
    let line = |line: &str| {
        let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.starts_with("Exec")) else {
            return line.to_owned();
        };
        // Prefixes such as `-` change how the program is run (systemd.service(5), "Command lines").
        let program = value.trim_start_matches(['-', '@', ':', '+', '!']);
        let prefix = value.strip_suffix(program).unwrap_or_default();
        let arguments = program.split_once(' ').map_or("", |(_, arguments)| arguments);
        format!("{key}={prefix}/bin/true {arguments}")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_not_installed_here_are_replaced() {
        let unit = "[Service]\nExecStart=-/usr/bin/x --a\nExecStop=/usr/bin/y\nType=oneshot";
        let expected = "[Service]\nExecStart=-/bin/true --a\nExecStop=/bin/true \nType=oneshot\n";
        assert_eq!(with_installed_programs(unit), expected);
    }
}
