//! Which requirements hold for an image: those of the most specific scope that names it.

use oci_spec::distribution::Reference;

use super::rules::{Requirement, Rules};
use crate::{
    error::{IoContext, Result},
    model::{ImageReference, Transport},
};

/// The lists of requirements that an image has to meet. It is one, except where this cannot tell which one holds: then all of them have to be met.
pub(super) fn lists_for<'r>(rules: &'r Rules, image: &ImageReference) -> Result<Vec<&'r [Requirement]>> {
    let Some(scopes) = rules.transports.get(policy_name(image.transport())) else {
        return Ok(vec![&rules.default]);
    };
    let rest = scopes.get("").unwrap_or(&rules.default).as_slice();
    let found = match image.transport() {
        Transport::ContainersStorage => {
            let may_be_meant = scopes.iter().filter(|(scope, _)| names_in_store(scope, image.name()));
            let mut lists: Vec<_> = may_be_meant.map(|(_, list)| list.as_slice()).collect();
            lists.push(rest);
            return Ok(lists);
        }
        Transport::Registry => registry_scopes(image.name()),
        Transport::Oci | Transport::OciArchive => folder_scopes(image)?,
    };
    let most_specific = found.iter().find_map(|scope| scopes.get(scope));
    Ok(vec![most_specific.map_or(rest, Vec::as_slice)])
}

/// The name of a transport in a policy.
fn policy_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Registry => "docker",
        Transport::Oci => "oci",
        Transport::OciArchive => "oci-archive",
        Transport::ContainersStorage => "containers-storage",
    }
}

/// A name in a registry in full: host and path, and tag or digest with its separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FullName {
    /// Host, port if given, and path.
    pub(super) repository: String,
    /// `:tag` or `@digest`.
    pub(super) version: String,
}

impl FullName {
    /// Completes a name as registries' clients do: host, folder, tag `latest`. Beside a digest, a tag does not count.
    ///
    /// A name that is no reference stays as it is; no registry will have it.
    pub(super) fn of(name: &str) -> Self {
        let Ok(full) = name.parse::<Reference>() else {
            return Self { repository: name.to_owned(), version: ":latest".to_owned() };
        };
        let version = match (full.digest(), full.tag()) {
            (Some(digest), _) => format!("@{digest}"),
            (None, tag) => format!(":{}", tag.unwrap_or("latest")),
        };
        Self { repository: format!("{}/{}", full.registry(), full.repository()), version }
    }
}

/// Name with version, name, its parents up to the host, then domains around the host with `*.` (without a port).
fn registry_scopes(name: &str) -> Vec<String> {
    let full = FullName::of(name);
    let mut scopes = vec![format!("{}{}", full.repository, full.version)];
    let mut rest = full.repository.as_str();
    scopes.push(rest.to_owned());
    while let Some((parent, _)) = rest.rsplit_once('/') {
        scopes.push(parent.to_owned());
        rest = parent;
    }
    let mut domain = rest.split(':').next().unwrap_or_default();
    while let Some((_, around)) = domain.split_once('.') {
        scopes.push(format!("*.{around}"));
        domain = around;
    }
    scopes
}

/// The path, links followed, and the folders around it; not `/`, for which the scope `""` stands. The tag has no part in it.
fn folder_scopes(image: &ImageReference) -> Result<Vec<String>> {
    let (path, _) = image.path_and_tag();
    let full = std::fs::canonicalize(path).context_io(|| format!("find {path}"))?;
    let folders = full.ancestors().filter(|folder| folder.parent().is_some());
    Ok(folders.map(|folder| folder.display().to_string()).collect())
}

/// Whether a scope may mean an image of the local store. Scopes start with the store's place, `[driver@/folder]` or `[/folder]`; it is taken for the one that
/// is used.
fn names_in_store(scope: &str, name: &str) -> bool {
    let wanted = scope.split_once(']').map_or(scope, |(_, rest)| rest);
    if scope.is_empty() || wanted.is_empty() {
        return !scope.is_empty();
    }
    // By id, an image's names are not known here.
    let by_id = name.starts_with(['@', '[']) || !name.contains(['/', ':', '.']);
    by_id || wanted.contains('@') || registry_scopes(name).iter().any(|scope| scope == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_registries_clients_do() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        let usual = "x".parse::<Reference>().unwrap().registry().to_owned();
        for (name, full) in [
            ("os", &format!("{usual}/library/os:latest")),
            ("team/os:v1", &format!("{usual}/team/os:v1")),
            ("localhost/os", &"localhost/os:latest".to_owned()),
            (&format!("index.{usual}/os:1"), &format!("{usual}/library/os:1")),
            ("h:5000/a/os:1", &"h:5000/a/os:1".to_owned()),
            (&format!("h:5000/os:1{digest}"), &format!("h:5000/os{digest}")),
        ] {
            let found = FullName::of(name);
            assert_eq!(format!("{}{}", found.repository, found.version), *full, "{name}");
        }
    }

    #[test]
    fn scopes_go_from_the_image_out_to_its_domains() {
        assert_eq!(
            registry_scopes("a.example.com:5000/team/os:1"),
            [
                "a.example.com:5000/team/os:1",
                "a.example.com:5000/team/os",
                "a.example.com:5000/team",
                "a.example.com:5000",
                "*.example.com",
                "*.com"
            ]
        );
    }
}
