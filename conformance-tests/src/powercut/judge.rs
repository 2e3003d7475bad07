//! Whether a state is one that a power cut may leave: an old or a new system boots, whole, with all that its users wrote.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use bootwright_core::fs::TEMPORARY_PREFIX;
use sha2::{Digest as _, Sha256};

use super::{
    esp::{Damaged, EspFolder},
    fat::Damage,
    life::{Life, MARKER, Verb},
    scratch::MountedRoot,
    tree::{Before, Tree},
};
use crate::oracle::{self, Disk, LiveRoot, MenuEntry, Variables, firmware, live_root, nvram};

/// What boots where nothing is installed yet, instead of a version.
pub const NOTHING: &str = "nothing";

/// What is known about a version that was seen whole.
#[derive(Debug)]
struct Known {
    version: &'static str,
    /// `/etc` of its deployment, below the physical root: every deployment has its own.
    etc: PathBuf,
    /// Kernel and initrds, or UKI and addons.
    files: Vec<BootFile>,
    /// Words of the command line, but for the one that names the root: that changes with a store's bookkeeping.
    arguments: Vec<String>,
    tree: Tree,
    /// `/etc` and `/var`, where nothing has run yet that may change them.
    data: Vec<Tree>,
}

/// What a loader reads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BootFile {
    /// SHA-256 of the file.
    digest: String,
    /// Of a PE image that holds a command line, which may be made anew on the machine: SHA-256 of each other section by its name.
    sections: Option<BTreeMap<String, String>>,
}

impl BootFile {
    fn is_whole(&self, known: &Self) -> bool {
        self.digest == known.digest || (self.sections.is_some() && self.sections == known.sections)
    }
}

/// How a bootloader counts the boots of a version on trial, and so what may boot when that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trials {
    /// One boot, which the firmware does once: until it is confirmed, the old version is the default.
    OneShot,
    /// The loader renames the entry through the firmware, whose driver takes the old name away before the new one is whole: if that is cut, the trial is lost.
    Renamed,
    /// The loader writes into a block that it has.
    InPlace,
}

impl Trials {
    fn of(bootloader: &str) -> Self {
        match bootloader {
            "uki" => Self::OneShot,
            "systemd-boot" => Self::Renamed,
            _ => Self::InPlace,
        }
    }

    /// What may boot while `verb` runs, or, if `loading`, before the kernel has written anything.
    fn may_boot(self, verb: Verb, loading: bool) -> &'static [&'static str] {
        match (self, verb) {
            (Self::OneShot, _) => verb.may_boot(),
            (Self::Renamed, Verb::Confirm) if loading => verb.may_boot(),
            (_, Verb::Confirm) => &["v2"],
            _ => verb.may_boot(),
        }
    }
}

/// All versions that were seen whole.
#[derive(Debug)]
pub struct Judge {
    known: Vec<Known>,
    esp_guid: [u8; 16],
    trials: Trials,
    markers: &'static [&'static str],
    scratch: PathBuf,
    /// Sections by the digest of the file.
    sections: BTreeMap<String, Option<BTreeMap<String, String>>>,
}

/// A recovered root, with what was found out about it already.
#[derive(Debug)]
pub struct Root {
    mounted: MountedRoot,
    thorough: bool,
    /// SHA-256 of what GRUB reads there.
    seen_by_grub: BTreeMap<PathBuf, String>,
    /// By version: what is wrong with its tree or its data.
    verified: BTreeMap<&'static str, Option<String>>,
}

impl Root {
    /// One that nothing is known about; see [`Tree::verify`] for `thorough`.
    pub fn new(mounted: MountedRoot, thorough: bool) -> Self {
        Self { mounted, thorough, seen_by_grub: BTreeMap::new(), verified: BTreeMap::new() }
    }

    /// The mount.
    pub fn mounted(&self) -> &MountedRoot {
        &self.mounted
    }

    /// SHA-256 of a file in it, as GRUB reads it.
    fn seen_by_grub(&mut self, file: &Path) -> Result<String> {
        if let Some(digest) = self.seen_by_grub.get(file) {
            return Ok(digest.clone());
        }
        let digest = hex::encode(Sha256::digest(self.mounted.seen_by_grub(file)?));
        self.seen_by_grub.insert(file.to_owned(), digest.clone());
        Ok(digest)
    }

    /// Whether an entry was seen that starts something in it.
    pub fn is_started(&self) -> bool {
        !self.verified.is_empty()
    }

    /// The mount, to end it.
    pub fn into_mounted(self) -> MountedRoot {
        self.mounted
    }
}

impl Judge {
    /// One for a recorded life, which knows nothing yet; it puts files into `scratch`.
    pub fn new(life: &Life, scratch: PathBuf) -> Self {
        let trials = Trials::of(&life.cell.bootloader);
        let (known, sections) = (Vec::new(), BTreeMap::new());
        Self { known, esp_guid: life.esp_guid, trials, markers: life.markers, scratch, sections }
    }

    fn disk(&self, esp: &EspFolder, root: &Path, variables: &[u8]) -> Result<Disk> {
        // A BIOS has none.
        let values = if variables.is_empty() {
            BTreeMap::default()
        } else {
            nvram::parse(variables).context("the variable store")?
        };
        let variables = Variables::from_values(values);
        let (esp, sysroot) = (esp.path().to_owned(), root.to_owned());
        Ok(Disk { esp, sysroot, esp_guid: self.esp_guid, variables })
    }

    /// Remembers what boots by default now, where nothing was lost, as `version`; `before` is what the store held at first.
    ///
    /// # Errors
    /// When nothing boots.
    pub fn learn(
        &mut self,
        version: &'static str,
        before: &Before,
        esp: &mut EspFolder,
        root: &mut Root,
        variables: &[u8],
    ) -> Result<()> {
        let disk = self.disk(esp, root.mounted.path(), variables)?;
        let entry = own_entries(&disk)?.into_iter().next().context("nothing boots")?;
        let live = live_root(&disk.sysroot, &entry.cmdline)?;
        let etc = below(&disk, &live);
        ensure!(
            self.known.iter().all(|known| known.etc != etc),
            "{version} boots what another version booted"
        );
        let files = self.files(esp, root, &entry)?;
        let arguments = entry.arguments();
        let tree = Tree::learn(&root.mounted, &live, before, &self.scratch)?;
        let data: &[_] = if self.markers.is_empty() { &[&live.etc, &live.var] } else { &[] };
        let data = data
            .iter()
            .map(|folder| Tree::learn_folder(&root.mounted, folder, before))
            .collect::<Result<_>>()?;
        self.known.push(Known { version, etc, files, arguments, tree, data });
        Ok(())
    }

    /// Checks a state, and returns the version that boots, and stays; `loading` if the power failed before the kernel wrote anything.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(
        &mut self,
        (verb, loading): (Verb, bool),
        esp: &mut EspFolder,
        root: &mut Root,
        variables: &[u8],
    ) -> Result<&'static str> {
        let disk = self.disk(esp, root.mounted.path(), variables)?;
        lookable(esp)?;
        let versions = self.versions(&disk, esp, root, &own_entries(&disk)?)?;
        let first = *versions.first().context("nothing boots")?;
        let may_boot = self.trials.may_boot(verb, loading);
        ensure!(may_boot.contains(&first), "{first} boots, not one of {may_boot:?}");
        ensure!(versions.contains(&verb.must_stay()), "{} is in no entry", verb.must_stay());
        match firmware::started_again(&disk) {
            Some(trial) => self.entry(&disk, esp, root, &trial).context("the entry that is tried again"),
            None => Ok(first),
        }
    }

    /// Checks a state of a disk that is being installed, and returns the version that boots, or [`NOTHING`]: nothing has to, but what does is whole.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check_installation(
        &mut self,
        esp: &mut EspFolder,
        root: &mut Root,
        variables: &[u8],
    ) -> Result<&'static str> {
        let disk = self.disk(esp, root.mounted.path(), variables)?;
        // What cannot be read starts nothing.
        let entries = own_entries(&disk).unwrap_or_default();
        let versions = self.versions(&disk, esp, root, &entries)?;
        Ok(versions.first().copied().unwrap_or(NOTHING))
    }

    /// Whether firmware and loader find an entry of ours, where there is no root, but this empty folder.
    pub fn starts_anything(&self, esp: &EspFolder, root: &Path, variables: &[u8]) -> bool {
        let entries = self.disk(esp, root, variables).and_then(|disk| own_entries(&disk));
        entries.is_ok_and(|entries| !entries.is_empty())
    }

    /// The version that each entry starts, if all that it needs is whole.
    fn versions(
        &mut self,
        disk: &Disk,
        esp: &mut EspFolder,
        root: &mut Root,
        entries: &[MenuEntry],
    ) -> Result<Vec<&'static str>> {
        let mut versions = Vec::new();
        for entry in entries {
            let version = self.entry(disk, esp, root, entry);
            versions.push(version.with_context(|| format!("the entry {}", entry.name))?);
        }
        Ok(versions)
    }

    /// The version that an entry starts, if all that it needs is whole.
    fn entry(
        &mut self,
        disk: &Disk,
        esp: &mut EspFolder,
        root: &mut Root,
        entry: &MenuEntry,
    ) -> Result<&'static str> {
        if let Some(problem) = entry.problem() {
            bail!("{problem}");
        }
        let live = live_root(&disk.sysroot, &entry.cmdline)?;
        let etc = below(disk, &live);
        let files = self.files(esp, root, entry)?;
        let known = self.known.iter().find(|known| known.etc == etc);
        let known =
            known.with_context(|| format!("it starts {}, which is no published version", etc.display()))?;
        let whole = files.iter().zip(&known.files).all(|(file, known)| file.is_whole(known));
        ensure!(
            whole && files.len() == known.files.len(),
            "its files are not those of {}: {:?}",
            known.version,
            entry.files
        );
        let arguments = entry.arguments();
        ensure!(arguments == known.arguments, "its arguments are {arguments:?}, not {:?}", known.arguments);
        if !root.verified.contains_key(known.version) {
            let result = self.verify(root, known, &live).err().map(|error| format!("{error:#}"));
            root.verified.insert(known.version, result);
        }
        let problem = root.verified.get(known.version).and_then(Option::as_ref);
        ensure!(problem.is_none(), "{}: {}", known.version, problem.map_or("", String::as_str));
        Ok(known.version)
    }

    /// What the loader of an entry reads.
    fn files(&mut self, esp: &mut EspFolder, root: &mut Root, entry: &MenuEntry) -> Result<Vec<BootFile>> {
        entry.files.iter().map(|file| self.file(esp, root, file)).collect()
    }

    fn file(&mut self, esp: &mut EspFolder, root: &mut Root, file: &Path) -> Result<BootFile> {
        if file.starts_with(root.mounted.path()) {
            let digest = root.seen_by_grub(file).context("before the journal is replayed")?;
            return Ok(BootFile { digest, sections: None });
        }
        let digest = esp.digest(file)?;
        let sections = self.sections.entry(digest.clone()).or_insert_with(|| section_digests(file)).clone();
        Ok(BootFile { digest, sections })
    }

    fn verify(&self, root: &Root, known: &Known, live: &LiveRoot) -> Result<()> {
        for tree in [&known.tree].into_iter().chain(&known.data) {
            tree.verify(&root.mounted, &self.scratch, root.thorough)?;
        }
        for (marker, folder) in self.markers.iter().zip([&live.etc, &live.var]) {
            let name = marker.split_once('/').map_or(*marker, |(_, name)| name);
            let found = oracle::read_file(&folder.join(name)).unwrap_or_default();
            ensure!(found == MARKER.as_bytes(), "/{marker} is lost or changed");
        }
        Ok(())
    }
}

/// Whether every folder can be opened and removed by the kernel: one that cannot stays in the way of whatever would be put there.
///
/// Damaged files are no failure: what has a temporary name is removed before anything else is written, and short names are what is left of
/// a rename that nothing refers to. Machines that are booted show that nothing follows from them.
fn lookable(esp: &EspFolder) -> Result<()> {
    let temporary =
        |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
    let broken = |found: &&Damaged| found.folder && found.damage == Damage::Broken;
    match esp.damaged().iter().filter(broken).find(|found| !temporary(&found.path)) {
        Some(found) => bail!("the kernel does not open the folder {found}"),
        None => Ok(()),
    }
}

/// Entries of ours, the default first, and what is started if none of them can be.
fn own_entries(disk: &Disk) -> Result<Vec<MenuEntry>> {
    let menu = firmware::menu(disk).context("the boot menu")?;
    let own = menu.into_iter().filter(|entry| !entry.foreign);
    Ok(own.chain(firmware::last_resort(disk)?).collect())
}

fn below(disk: &Disk, live: &LiveRoot) -> PathBuf {
    live.etc.strip_prefix(&disk.sysroot).unwrap_or(&live.etc).to_owned()
}

/// SHA-256 of each section of an image with a command line, but for that.
fn section_digests(file: &Path) -> Option<BTreeMap<String, String>> {
    let content = oracle::read_file(file)?;
    let sections = oracle::sections_beside_arguments(&content)?.into_iter();
    Some(sections.map(|(name, bytes)| (name, hex::encode(Sha256::digest(bytes)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(digest: &str, sections: Option<&[(&str, &str)]>) -> BootFile {
        let owned = |(name, digest): &(&str, &str)| ((*name).to_owned(), (*digest).to_owned());
        BootFile {
            digest: digest.to_owned(),
            sections: sections.map(|found| found.iter().map(owned).collect()),
        }
    }

    #[test]
    fn only_a_loader_that_renames_may_lose_a_trial_and_only_until_the_kernel_runs() {
        let old: &[_] = &["v1", "v2"];
        let may_boot = |loader, loading| Trials::of(loader).may_boot(Verb::Confirm, loading);
        assert_eq!((may_boot("systemd-boot", true), may_boot("systemd-boot", false)), (old, &["v2"][..]));
        assert_eq!((may_boot("grub2", true), may_boot("uki", false)), (&["v2"][..], old));
        assert_eq!(Trials::of("grub2").may_boot(Verb::Finalise, false), Verb::Finalise.may_boot());
    }

    #[test]
    fn a_uki_that_was_made_anew_is_whole_if_only_its_command_line_differs() {
        let known = file("a", Some(&[(".linux", "k"), (".initrd", "i")]));
        assert!(file("b", Some(&[(".linux", "k"), (".initrd", "i")])).is_whole(&known));
        assert!(!file("b", Some(&[(".linux", "k"), (".initrd", "torn")])).is_whole(&known));
        assert!(!file("b", None).is_whole(&known));
        assert!(!file("b", None).is_whole(&file("a", None)));
        assert!(file("a", None).is_whole(&file("a", None)));
    }
}
