//! What the machine's own apt configuration says: mirrors and signing keys. No mirror is written in a file
//! of ours.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};

use crate::host;

/// Names the mirror where apt cannot tell, as on a machine that is not Debian.
const MIRROR_VARIABLE: &str = "BOOTWRIGHT_DEBIAN_MIRROR";
const KEYRINGS: &str = "/usr/share/keyrings";

/// One suite of one archive that apt is configured to use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    archive: String,
    suite: String,
}

/// The address of the Debian archive that this machine uses, or that `BOOTWRIGHT_DEBIAN_MIRROR` names.
///
/// # Errors
/// When apt is configured for none, as on other distributions.
pub fn debian_mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    match release_value("ID").filter(|id| id == "debian").and_then(|_| main_archive(&sources())) {
        Some(archive) => Ok(archive),
        None => {
            bail!("apt knows no Debian mirror here; name one in the environment variable {MIRROR_VARIABLE}")
        }
    }
}

/// The address of the security archive, where this machine uses one.
pub fn security_mirror() -> Option<String> {
    release_value("ID").filter(|id| id == "debian")?;
    sources().into_iter().find(|source| source.suite.ends_with("-security")).map(|source| source.archive)
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

/// The value of `name` in this machine's `/etc/os-release`.
pub(super) fn release_value(name: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    os_release_value(&text, name).map(str::to_owned)
}

/// Asks apt what an update would download. Unlike `indextargets` this works before the first update, and
/// nothing is downloaded.
fn sources() -> Vec<Source> {
    let output = host::run(host::command("apt-get").args(["update", "--print-uris"])).unwrap_or_default();
    parse(&String::from_utf8_lossy(&output))
}

/// Finds the release files: lines of the form `'<archive>dists/<suite>/InRelease' <file name> <size>`.
fn parse(output: &str) -> Vec<Source> {
    let source = |line: &str| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (archive, path) = uri.split_once("dists/")?;
        let suite = path.strip_suffix("/InRelease").or_else(|| path.strip_suffix("/Release"))?;
        Some(Source { archive: archive.to_owned(), suite: suite.to_owned() })
    };
    output.lines().filter_map(source).collect()
}

/// On Debian, the main archive is the one that also has the updates of a suite, or whose path says so:
/// archives of other vendors have neither.
fn main_archive(sources: &[Source]) -> Option<String> {
    let updates = sources.iter().find(|source| source.suite.ends_with("-updates"));
    let by_path = || sources.iter().find(|source| source.archive.trim_end_matches('/').ends_with("/debian"));
    updates.or_else(by_path).map(|source| source.archive.clone())
}

/// The value of `name` in the text of an os-release file, without quotes.
fn os_release_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix('=');
    text.lines().find_map(value).map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
        'http://other.test/linux/dists/bookworm/InRelease' x 0 \n\
        'http://mirror.test/deb/dists/bookworm/InRelease' x 0 \n\
        'http://mirror.test/deb/dists/bookworm-updates/InRelease' x 0 \n\
        'http://mirror.test/deb/dists/bookworm/main/binary-amd64/Packages.xz' x 0 \n\
        'http://mirror.test/sec/dists/bookworm-security/InRelease' x 0 \n\
        garbage\n";

    #[test]
    fn the_main_archive_is_the_one_with_updates() {
        let sources = parse(OUTPUT);
        assert_eq!(sources.len(), 4);
        assert_eq!(main_archive(&sources).as_deref(), Some("http://mirror.test/deb/"));
    }

    #[test]
    fn without_updates_the_path_decides() {
        let sources = parse(
            "'http://a.test/linux/dists/sid/InRelease' x 0\n'http://b.test/debian/dists/sid/Release' x 0\n",
        );
        assert_eq!(main_archive(&sources).as_deref(), Some("http://b.test/debian/"));
    }

    #[test]
    fn a_machine_without_debian_sources_has_no_mirror() {
        assert_eq!(main_archive(&parse("'http://mirror.test/tool/dists/stable/InRelease' x 0\n")), None);
        assert_eq!(main_archive(&parse("")), None);
    }

    #[test]
    fn the_codename_is_read_from_os_release() {
        let text = "NAME=\"x\"\nVERSION_CODENAME=bookworm\nVERSION_CODENAME_X=no\n";
        assert_eq!(os_release_value(text, "VERSION_CODENAME"), Some("bookworm"));
        assert_eq!(os_release_value("ID=arch\n", "VERSION_CODENAME"), None);
    }
}
