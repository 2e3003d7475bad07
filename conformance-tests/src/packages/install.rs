//! Installs missing packages through the system's package manager.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{
    apt,
    requirements::{Requirement, missing},
};
use crate::host;

/// Packages that must come from one suite: on Debian 12 `qemu-utils` may already be the backported one, and
/// then the plain `qemu-system-x86` cannot be installed beside it.
const ONE_SUITE: [&str; 2] = ["qemu-system-x86", "qemu-utils"];

/// Installs whatever [`missing`] finds, and returns the names of the packages that were installed.
///
/// `progress` is called with a line of text before each step that takes a while.
///
/// # Errors
/// When this is not a machine with apt, or neither root nor `sudo -n` is available, or apt fails: the message
/// has the packages by name for Debian, Fedora and Arch Linux.
pub fn ensure_installed(progress: &dyn Fn(&str)) -> Result<Vec<String>> {
    let absent = missing();
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    let apt = host::find_program("apt-get").is_some() && Path::new("/etc/debian_version").exists();
    if !apt || !can_be_root() {
        bail!("{}", by_hand(&absent));
    }
    let names = names(&absent, |requirement| requirement.debian);
    progress(&format!("installing {}", names.join(" ")));
    let installed = install(&names, progress).with_context(|| by_hand(&absent));
    installed.and_then(|()| still_missing(&missing())).map(|()| names)
}

fn still_missing(absent: &[Requirement]) -> Result<()> {
    if absent.is_empty() { Ok(()) } else { bail!("{}", by_hand(absent)) }
}

fn can_be_root() -> bool {
    host::is_root() || host::privileged("true").output().is_ok_and(|output| output.status.success())
}

/// What a human can do instead.
fn by_hand(absent: &[Requirement]) -> String {
    let list = |of: fn(&Requirement) -> &'static str| names(absent, of).join(" ");
    let purposes: BTreeSet<&str> = absent.iter().map(|requirement| requirement.purpose).collect();
    format!(
        "programs are missing for {}; install them as root with one of\n  \
         Debian:  apt-get install --no-install-recommends {}\n  \
         Fedora:  dnf install {}\n  \
         Arch:    pacman -S --needed {}",
        purposes.into_iter().collect::<Vec<_>>().join(", "),
        list(|requirement| requirement.debian),
        list(|requirement| requirement.fedora),
        list(|requirement| requirement.arch),
    )
}

fn names(requirements: &[Requirement], of: fn(&Requirement) -> &'static str) -> Vec<String> {
    let unique: BTreeSet<&str> = requirements.iter().map(of).collect();
    unique.into_iter().map(str::to_owned).collect()
}

fn install(names: &[String], progress: &dyn Fn(&str)) -> Result<()> {
    let (coupled, plain): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| ONE_SUITE.contains(&name.as_str()));
    // Package lists may be old or absent: a failing update is only a reason to fail if the install fails too.
    let updated = apt_get(&["update"], &[]);
    if !plain.is_empty() {
        apt_get(&INSTALL, &plain).or_else(|error| updated.and(Err(error)))?;
    }
    if coupled.is_empty() || apt_get(&INSTALL, &coupled).is_ok() {
        return Ok(());
    }
    progress("the plain QEMU packages do not fit what is installed; trying the backported ones");
    from_backports(&coupled)
}

/// Without `--no-remove`, apt would solve the conflict by removing `qemu-utils`, unasked.
const INSTALL: [&str; 4] = ["install", "--yes", "--no-remove", "--no-install-recommends"];

fn apt_get(options: &[&str], names: &[String]) -> Result<()> {
    let mut command = host::privileged("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]).args(options).args(names);
    host::run(&mut command).map(drop)
}

/// Installs from the backports suite, which is configured for these two calls only.
fn from_backports(names: &[String]) -> Result<()> {
    let codename = apt::release_value("VERSION_CODENAME").context("/etc/os-release has no codename")?;
    let suite = format!("{codename}-backports");
    let folder = sources_with(&suite)?;
    let parts = format!("Dir::Etc::SourceParts={}", folder.path().display());
    apt_get(&["-o", &parts, "update"], &[])?;
    let install: Vec<&str> = ["-o", &parts].into_iter().chain(INSTALL).chain(["-t", &suite]).collect();
    apt_get(&install, names)
}

/// A folder with copies of the machine's own apt sources, and one more file for `suite`.
fn sources_with(suite: &str) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("bootwright-apt-").tempdir()?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten() {
        let entry = entry?;
        fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
    }
    let key = keyring().context("the Debian archive keyring is not installed")?;
    let line = backports_line(&apt::debian_mirror()?, suite, &key);
    fs::write(folder.path().join("bootwright-backports.list"), line)?;
    Ok(folder)
}

/// The archive keys as one file, since `signed-by` in the one-line format takes one.
fn keyring() -> Option<PathBuf> {
    let files =
        ["gpg", "pgp"].map(|ext| PathBuf::from(format!("/usr/share/keyrings/debian-archive-keyring.{ext}")));
    files.into_iter().find(|file| file.exists())
}

fn backports_line(mirror: &str, suite: &str, key: &Path) -> String {
    format!("deb [signed-by={}] {mirror} {suite} main\n", key.display())
}

#[cfg(test)]
mod tests {
    use super::{super::REQUIREMENTS, *};

    #[test]
    fn the_message_names_packages_for_three_distributions() {
        let text = by_hand(&REQUIREMENTS);
        for expected in
            ["qemu-system-x86-core", "apt-get install", "edk2-ovmf", "pacman -S", "virtual machines"]
        {
            assert!(text.contains(expected), "{expected} is not in: {text}");
        }
    }

    #[test]
    fn a_package_that_is_needed_twice_is_named_once() {
        let text = names(&REQUIREMENTS, |requirement| requirement.fedora);
        assert_eq!(text.iter().filter(|name| *name == "util-linux").count(), 1);
    }

    #[test]
    fn the_backports_source_is_bound_to_the_archive_key() {
        let line = backports_line("http://mirror.test/debian/", "bookworm-backports", Path::new("/k.gpg"));
        assert_eq!(line, "deb [signed-by=/k.gpg] http://mirror.test/debian/ bookworm-backports main\n");
    }
}
