//! The reviewed lists in `xtask/policy.toml`.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::workspace::Workspace;

const FILE: &str = "xtask/policy.toml";

/// What is accepted, each with a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// SPDX identifiers (with their exception) that a dependency may be used under, and why.
    pub licences: BTreeMap<String, String>,
    /// Where a plugin's name is none.
    pub plugin_names: PluginNames,
}

/// What core and cli may say although it is the name of a plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginNames {
    /// Names of plugins that are words of core as well, and what they mean there: such a word is the plugin's name only where it is a
    /// whole string.
    pub terms: BTreeMap<String, String>,
    /// Places where such a word means something else.
    #[serde(default)]
    pub exceptions: Vec<NameException>,
}

/// A place where a word is not the name of a plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameException {
    /// The file, or the folder with a `/` at its end.
    pub path: String,
    /// The word; without it, any.
    pub word: Option<String>,
    /// What it means there.
    pub reason: String,
}

impl Policy {
    /// Reads the file.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let path = workspace.root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("{FILE} is malformed"))
    }
}

impl NameException {
    /// Whether it covers this word in this file.
    pub fn covers(&self, path: &str, word: &str) -> bool {
        let place = if self.path.ends_with('/') { path.starts_with(&self.path) } else { path == self.path };
        place && self.word.as_ref().is_none_or(|own| own == word)
    }
}
