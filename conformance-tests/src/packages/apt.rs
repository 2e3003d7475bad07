//! What the machine's own apt configuration says: mirrors and signing keys. No mirror is written in a file
//! of ours.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::host;

/// Names the mirror where apt cannot tell, as on a machine that is not Debian.
const MIRROR_VARIABLE: &str = "BOOTWRIGHT_DEBIAN_MIRROR";
const KEYRINGS: &str = "/usr/share/keyrings";

/// One index that apt is configured to use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    uri: String,
    label: String,
}

/// The address of the Debian archive that this machine uses, or that `BOOTWRIGHT_DEBIAN_MIRROR` names.
///
/// # Errors
/// When apt is configured for none, as on other distributions.
pub fn debian_mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    match find(&targets(), "Debian") {
        Some(uri) => Ok(uri),
        None => {
            bail!("apt knows no Debian mirror here; name one in the environment variable {MIRROR_VARIABLE}")
        }
    }
}

/// The address of the security archive, where this machine uses one.
pub fn security_mirror() -> Option<String> {
    find(&targets(), "Debian-Security")
}

/// The installed keyrings that the archive of `suite` may be signed with.
pub fn archive_keys(suite: &str) -> Vec<PathBuf> {
    let own =
        ["automatic", "stable", "security-automatic"].map(|kind| format!("debian-archive-{suite}-{kind}"));
    let general = "debian-archive-keyring".to_owned();
    let existing = |name: &String| {
        let files = ["gpg", "pgp"].map(|extension| PathBuf::from(format!("{KEYRINGS}/{name}.{extension}")));
        files.into_iter().find(|file| file.exists())
    };
    own.iter().chain([&general]).filter_map(existing).collect()
}

fn targets() -> Vec<Target> {
    let mut command = host::command("apt-get");
    command.args(["indextargets", "--format", "$(IDENTIFIER)|$(LABEL)|$(REPO_URI)"]);
    let output = host::run(&mut command).unwrap_or_default();
    parse(&String::from_utf8_lossy(&output))
}

fn parse(output: &str) -> Vec<Target> {
    let target = |line: &str| {
        let mut parts = line.splitn(3, '|');
        let (kind, label, uri) = (parts.next()?, parts.next()?, parts.next()?);
        (kind == "Packages").then(|| Target { uri: uri.to_owned(), label: label.to_owned() })
    };
    output.lines().filter_map(target).collect()
}

fn find(targets: &[Target], label: &str) -> Option<String> {
    targets.iter().find(|target| target.label == label).map(|target| target.uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
        Packages|Debian-Security|http://mirror.test/debian-security/\n\
        DEP-11|Debian|http://wrong.test/\n\
        Packages|Debian Backports|http://mirror.test/backports/\n\
        Packages|Debian|http://mirror.test/debian/\n\
        garbage\n";

    #[test]
    fn the_main_archive_is_told_from_backports_and_security() {
        let targets = parse(OUTPUT);
        assert_eq!(find(&targets, "Debian").as_deref(), Some("http://mirror.test/debian/"));
        assert_eq!(find(&targets, "Debian-Security").as_deref(), Some("http://mirror.test/debian-security/"));
    }

    #[test]
    fn a_machine_without_debian_sources_has_no_mirror() {
        assert_eq!(find(&parse("Packages|Ubuntu|http://mirror.test/\n"), "Debian"), None);
        assert_eq!(find(&parse(""), "Debian"), None);
    }
}
