//! The feature selections of the `bootwright` program that must build: none, each plugin alone, and all but one.
//!
//! The plugins are read from the manifest, so that a new one is checked without a change here.

use std::collections::BTreeSet;

use super::has;
use crate::workspace::Workspace;

/// The package whose features are plugins.
const PACKAGE: &str = "bootwright";

/// The test program that pins the registered plugins, and its source.
pub const TEST: &str = "plugins";
const TEST_SOURCE: &str = "cli/tests/plugins.rs";

/// Some of the plugins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeatureSelection {
    features: BTreeSet<String>,
}

impl FeatureSelection {
    /// For people.
    pub fn name(&self) -> String {
        format!("features: {}", if self.features.is_empty() { "none".to_owned() } else { self.joined(" ") })
    }

    /// For cargo.
    pub fn arguments(&self) -> Vec<String> {
        let fixed = ["--package", PACKAGE, "--no-default-features", "--features"];
        fixed.into_iter().map(str::to_owned).chain([self.joined(",")]).collect()
    }

    fn joined(&self, separator: &str) -> String {
        self.features.iter().map(String::as_str).collect::<Vec<_>>().join(separator)
    }
}

/// Every selection that must build. All features together are what everything else builds.
pub fn all(workspace: &Workspace) -> Vec<FeatureSelection> {
    selections(&plugins(workspace))
}

/// The selections whose registered plugins are tested as well; linking takes longer than checking.
pub fn with_tests(workspace: &Workspace) -> Vec<FeatureSelection> {
    if !has(workspace, TEST_SOURCE) {
        return Vec::new();
    }
    let plugins = plugins(workspace);
    let all = selections(&plugins);
    all.into_iter().filter(|selection| selection.features.len() + 1 == plugins.len()).collect()
}

fn plugins(workspace: &Workspace) -> BTreeSet<String> {
    let packages = workspace.metadata().map(|metadata| metadata.packages).unwrap_or_default();
    let package = packages.into_iter().find(|package| package.name == PACKAGE && package.source.is_none());
    let default = package.and_then(|mut package| package.features.remove("default"));
    default.unwrap_or_default().into_iter().collect()
}

fn selections(plugins: &BTreeSet<String>) -> Vec<FeatureSelection> {
    let alone = plugins.iter().map(|plugin| BTreeSet::from([plugin.clone()]));
    let without = plugins.iter().map(|plugin| plugins.iter().filter(|p| *p != plugin).cloned().collect());
    let all = [BTreeSet::new()].into_iter().chain(alone).chain(without);
    let unique: BTreeSet<_> = all.map(|features| FeatureSelection { features }).collect();
    unique.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_each_alone_and_all_but_one_are_selected() {
        let plugins = ["a", "b", "c"].map(str::to_owned).into();
        let names: Vec<_> = selections(&plugins).iter().map(|s| s.joined("")).collect();
        assert_eq!(names, ["", "a", "ab", "ac", "b", "bc", "c"]);
    }

    #[test]
    fn the_plugins_are_the_default_features() {
        assert!(plugins(&Workspace::find()).len() >= 3);
    }

    #[test]
    fn a_selection_turns_the_other_features_off() {
        let selection = FeatureSelection { features: ["a", "b"].map(str::to_owned).into() };
        let expected = ["--package", "bootwright", "--no-default-features", "--features", "a,b"];
        assert_eq!(selection.arguments(), expected);
    }
}
