//! Builds programs of this workspace that go into test images.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The part of cargo's JSON messages that says where a program was put
/// (the cargo book, "External tools", artifact messages).
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the program `program` of the package `package`, with further cargo arguments such as `--release`,
/// and returns its path. Costs a fraction of a second when it is built already.
///
/// # Errors
/// When cargo cannot be run, or the build does not succeed; cargo's own messages go to standard error.
pub fn build_program(package: &str, program: &str, arguments: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--package", package]);
    command.args(["--bin", program]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`cargo build --package {package}` ended with {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable_in(&messages, program).with_context(|| format!("cargo built no program named {program}"))
}

/// The guest agent for [`crate::images::Recipe::guest_agent`], built small.
pub fn build_guest_agent() -> Result<PathBuf> {
    build_program("bootwright-guest-agent", "bootwright-guest-agent", &["--profile", "image"])
}

fn executable_in(messages: &str, program: &str) -> Option<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok());
    let ours = |message: &CargoMessage| message.target.as_ref().is_some_and(|target| target.name == program);
    parsed.filter(|message| message.reason == "compiler-artifact" && ours(message)).find_map(|m| m.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_told_from_libraries_and_noise() {
        let messages = r#"
            not json
            {"reason":"compiler-artifact","target":{"name":"x"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"y"},"executable":"/t/y"}
            {"reason":"compiler-artifact","target":{"name":"x"},"executable":"/t/x"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable_in(messages, "x"), Some(PathBuf::from("/t/x")));
        assert_eq!(executable_in(messages, "z"), None);
    }
}
