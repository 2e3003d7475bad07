//! Debian packages by way of mmdebstrap: whole systems, and trees whose programs or files tests use.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    cache::{Cache, Key},
    entry::IMAGE_TIME,
    writer::oci_architecture,
};
use crate::{host, packages::apt};

/// The release of all images.
pub(super) const SUITE: &str = "trixie";
/// The release after it, for what Debian builds in a way that a test needs from there on only.
const NEXT_SUITE: &str = "forky";
/// Lets apt take from the next release what is pinned, and nothing else if this release has it too.
const PREFERENCES: &str = include_str!("scripts/preferences.sh");

/// Packages of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    /// What is installed, with all that it depends on.
    pub names: Vec<String>,
    /// Those that are taken from Debian's next release, dependencies too where this release's do not do.
    pub newer: Vec<String>,
}

impl Packages {
    /// Adds all that decides what is installed.
    pub(super) fn add_to(&self, key: Key) -> Key {
        let key = self.names.iter().fold(key, Key::add);
        if self.newer.is_empty() {
            return key;
        }
        self.newer.iter().fold(key.add("newer").add(NEXT_SUITE).add(PREFERENCES), Key::add)
    }
}

/// Unpacks packages with what they depend on, without setting them up: most programs run there with `chroot`, and files of packages that no
/// image has can be taken. Returns the folder, which is kept in the cache.
///
/// # Errors
/// When mmdebstrap is missing or does not succeed, or when this process neither is root nor may use `sudo -n`.
pub fn unpacked(packages: &[&str], cache: &Cache) -> Result<PathBuf> {
    let key = packages.iter().fold(Key::default().add(SUITE).add(oci_architecture()), Key::add).short();
    let name = format!("packages-{key}");
    let folder = cache.dir().join(&name);
    let _lock = cache.lock(&name)?;
    if folder.exists() {
        return Ok(folder);
    }
    let scratch = tempfile::Builder::new().prefix(".packages-").tempdir_in(cache.dir())?;
    let tree = scratch.path().join("tree");
    // The links from `/lib` to `/usr/lib` and so on are in that package.
    let packages: Vec<_> = packages.iter().copied().chain(["base-files"]).collect();
    cache.say(&format!("unpacking {}", packages.join(", ")));
    let packages = Packages { names: packages.into_iter().map(str::to_owned).collect(), newer: Vec::new() };
    mmdebstrap(&["--variant=extract".to_owned(), "--format=directory".to_owned()], &packages, &tree, cache)?;
    std::fs::rename(&tree, &folder)?;
    Ok(folder)
}

/// Runs mmdebstrap into `target`, passing its messages on as progress.
pub(super) fn mmdebstrap(
    options: &[String],
    packages: &Packages,
    target: &Path,
    cache: &Cache,
) -> Result<()> {
    ensure!(host::find_program("mmdebstrap").is_some(), "mmdebstrap is not installed; run the set-up first");
    let mut command = host::privileged("env");
    // Through `env`, because sudo would drop the variables. mmdebstrap starts a program in Python for each package: it is to be the system's own, and not
    // one that somebody keeps in his path and that first finds out which version is wanted.
    command.arg(format!("SOURCE_DATE_EPOCH={IMAGE_TIME}")).arg(format!("PATH={}", system_path()));
    command.arg("mmdebstrap").args(options);
    command.arg("--aptopt=Apt::Install-Recommends \"false\"");
    command.arg(format!("--architectures={}", oci_architecture()));
    command.args(apt::archive_keys(SUITE).iter().map(|key| format!("--keyring={}", key.display())));
    command.arg(format!("--include={}", packages.names.join(",")));
    let mut sources = sources()?;
    if !packages.newer.is_empty() {
        // A release that is being made says when its lists are too old, and a mirror may be behind.
        sources.push(format!("deb [check-valid-until=no] {} {NEXT_SUITE} main", apt::debian_mirror()?));
        let pinned = packages.newer.join(" ");
        command.arg(format!(
            "--setup-hook={}",
            PREFERENCES.replace("@packages@", &pinned).replace("@suite@", NEXT_SUITE)
        ));
    }
    command.arg(SUITE).arg(target).args(sources);
    watch(&mut command, cache)
}

/// The path with the system's folders first.
fn system_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("/usr/sbin:/usr/bin:/sbin:/bin:{own}")
}

fn watch(command: &mut Command, cache: &Cache) -> Result<()> {
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start mmdebstrap")?;
    let mut said = Vec::new();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line?;
        // The lines about hooks show the start of a script.
        if let Some(step) = line.strip_prefix("I: ").filter(|step| !step.starts_with("running --")) {
            cache.say(step);
        }
        said.push(line);
    }
    if !child.wait()?.success() {
        bail!(
            "mmdebstrap could not take packages of Debian {SUITE}:\n{}",
            host::tail(said.join("\n").as_bytes(), 30)
        );
    }
    Ok(())
}

/// The package sources, from the mirrors that the machine itself uses.
fn sources() -> Result<Vec<String>> {
    let mirror = apt::debian_mirror()?;
    let mut sources =
        vec![format!("deb {mirror} {SUITE} main"), format!("deb {mirror} {SUITE}-updates main")];
    sources.extend(apt::security_mirror().map(|uri| format!("deb {uri} {SUITE}-security main")));
    Ok(sources)
}
