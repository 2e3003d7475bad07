//! Every dependency can be used under licences that we accept, and our own packages say ours.

use super::{Input, policy::Policy, spdx::Expression};
use crate::workspace::Package;

/// What every package of this workspace is under.
const OURS: &str = "MIT OR Apache-2.0";

/// Packages with another licence, or none.
pub fn check(input: &Input) -> Vec<String> {
    input.metadata.packages.iter().filter_map(|package| problem(package, &input.policy)).collect()
}

fn problem(package: &Package, policy: &Policy) -> Option<String> {
    let name = format!("{} {}", package.name, package.version);
    let Some(licence) = &package.license else {
        return Some(format!("{name} names no licence"));
    };
    if package.source.is_none() {
        return (licence != OURS).then(|| format!("{name} is ours: its licence must be {OURS:?}"));
    }
    match Expression::parse(licence) {
        Err(error) => Some(format!("{name}: {error}")),
        Ok(expression) if expression.is_satisfied(&|one| policy.licences.contains_key(one)) => None,
        Ok(_) => Some(format!("{name} is under {licence:?}, which the policy does not accept")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(licence: Option<&str>, source: Option<&str>) -> Package {
        Package {
            manifest_path: std::path::PathBuf::new(),
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
            features: std::collections::BTreeMap::default(),
        }
    }

    fn policy() -> Policy {
        toml::from_str("[licences]\nMIT = 'x'\n[plugin-names.terms]").unwrap()
    }

    #[test]
    fn a_dependency_needs_an_accepted_licence() {
        assert_eq!(problem(&package(Some("MIT OR GPL-3.0-only"), Some("r")), &policy()), None);
        assert!(problem(&package(Some("GPL-3.0-only"), Some("r")), &policy()).is_some());
        assert!(problem(&package(None, Some("r")), &policy()).is_some());
    }

    #[test]
    fn our_packages_need_ours() {
        assert!(problem(&package(Some("MIT"), None), &policy()).is_some());
        assert_eq!(problem(&package(Some(OURS), None), &policy()), None);
    }
}
