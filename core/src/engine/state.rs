//! What core itself remembers on the physical root, below `bootwright/`: records, the staged deployment, the journal, the lock.

use std::{collections::BTreeSet, os::fd::OwnedFd, sync::OnceLock};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Abandoned, FailureNote, Intent, room};
use crate::{
    error::{Error, ErrorKind, IoContext, Result},
    fs::{ReplaceStyle, Root},
    model::{DeploymentId, KernelCmdline, Stateroot},
};

const FOLDER: &str = "bootwright";
const LOCK: &str = "lock";
const SYSTEM: &str = "system.json";
const STAGED: &str = "staged.json";
const JOURNAL: &str = "journal.json";
const ABANDONED: &str = "abandoned.json";
const FAILURE: &str = "failure.json";
const CLEAN: &str = "clean.json";
const RECORDS: &str = "deployments";

/// What was chosen at install and holds for the whole system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemRecord {
    /// Name of the storage backend.
    pub backend: String,
    /// Name of the bootloader.
    pub bootloader: String,
    /// Whose `/var` deployments use.
    pub stateroot: Stateroot,
    /// Whether reads need not be verified (install with `--allow-missing-verity`).
    pub allow_missing_verity: bool,
}

/// What core knows of one deployment, besides what its backend knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRecord {
    /// Arguments by which the machine finds its physical root (`root=UUID=…`); a sealed UKI does without.
    pub machine_args: KernelCmdline,
    /// Arguments that the administrator added.
    pub user_args: KernelCmdline,
    /// Never to be removed.
    pub pinned: bool,
    /// Paths in `/etc` that the image and the administrator changed in different ways; the administrator's are in force.
    pub etc_conflicts: Vec<String>,
    /// Its image demanded at install that the host's signature policy is more than a formality; so do later images then.
    #[serde(default)]
    pub signature_policy: bool,
    /// Counts up with each deployment that is made, so that the newer of two can be told.
    #[serde(default)]
    pub sequence: u64,
}

/// A deployment that becomes the default at the next shutdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StagedRecord {
    /// Which.
    pub deployment: DeploymentId,
    /// Only downloaded: wait until it is asked for.
    pub hold: bool,
    /// `/proc/sys/kernel/random/boot_id` of the boot during which it was staged: in a later boot, its finalisation was missed.
    pub boot_id: String,
}

/// Files of core on the physical root. Each is replaced wholly or not at all.
#[derive(Debug, Clone)]
pub struct StateStore {
    sysroot: Root,
    /// The folder, once it was found or made: it is opened once, not for each file.
    folder: OnceLock<Root>,
}

/// Held while a command changes the system; released when dropped, also by a crash.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

impl StateStore {
    /// The records below this physical root. Reads nothing yet.
    pub fn new(sysroot: Root) -> Self {
        Self { sysroot, folder: OnceLock::new() }
    }

    /// The folder; `None` before the first change on a system that Bootwright did not install.
    fn folder(&self) -> Result<Option<&Root>> {
        if let Some(folder) = self.folder.get() {
            return Ok(Some(folder));
        }
        match self.sysroot.sub(FOLDER) {
            Ok(folder) => Ok(Some(self.folder.get_or_init(|| folder))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn made(&self) -> Result<&Root> {
        if let Some(folder) = self.folder()? {
            return Ok(folder);
        }
        let folder = self.sysroot.make_sub(FOLDER)?;
        Ok(self.folder.get_or_init(|| folder))
    }

    /// The same error; where it is about space, with what the root has left.
    pub(super) fn explained(&self, error: Error) -> Error {
        room::explained(error, &self.sysroot)
    }

    /// Gives up what is set aside, if little else is left. The next [`StateStore::set_reserve_aside`] makes it anew.
    ///
    /// # Errors
    /// `Io` and the like if it cannot be removed.
    pub(super) fn use_reserve_if_full(&self) -> Result<()> {
        match self.folder()? {
            Some(folder) => room::use_reserve_if_full(folder),
            None => Ok(()),
        }
    }

    /// Sets room aside for a clean-up of a full disk, unless that is done. What is not possible now is tried again another time.
    pub(super) fn set_reserve_aside(&self) {
        let done = self.made().and_then(room::set_reserve_aside);
        if let Err(error) = done {
            tracing::debug!(%error, "no room is set aside");
        }
    }

    /// Takes the lock, or returns `None` if another command has it. Does not wait.
    ///
    /// # Errors
    /// `Permission`, `Io` and the like if the lock's file cannot be opened.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let folder = self.made()?;
        let mut options = cap_std::fs::OpenOptions::new();
        let file = folder
            .dir()
            .open_with(LOCK, options.write(true).create(true))
            .context_io(|| format!("open {}", folder.show(LOCK)))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file.into_std().into() })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(Error::io(format!("lock {}", folder.show(LOCK)), errno.into())),
        }
    }

    /// What was chosen at install, or `None` on a system that Bootwright did not install.
    pub fn system(&self) -> Result<Option<SystemRecord>> {
        self.load(SYSTEM)
    }

    /// Records the choices of an install.
    pub fn set_system(&self, record: &SystemRecord) -> Result<()> {
        self.store(SYSTEM, record)
    }

    /// The staged deployment, if there is one.
    pub fn staged(&self) -> Result<Option<StagedRecord>> {
        self.load(STAGED)
    }

    /// Records or forgets the staged deployment.
    pub fn set_staged(&self, record: Option<&StagedRecord>) -> Result<()> {
        self.store_or_remove(STAGED, record)
    }

    /// The journal, if an operation is under way or was interrupted.
    pub fn journal(&self) -> Result<Option<Intent>> {
        self.load(JOURNAL)
    }

    /// Writes or clears the journal.
    pub fn set_journal(&self, intent: Option<&Intent>) -> Result<()> {
        self.store_or_remove(JOURNAL, intent)
    }

    /// Images that this machine left, oldest first.
    pub fn abandoned(&self) -> Result<Vec<Abandoned>> {
        Ok(self.load(ABANDONED)?.unwrap_or_default())
    }

    /// Replaces the list of images that this machine left.
    pub fn set_abandoned(&self, list: &[Abandoned]) -> Result<()> {
        self.store_or_remove(ABANDONED, (!list.is_empty()).then_some(list))
    }

    /// What the last boot on trial that could tell says of its failure. `None` also if that cannot be read: it only explains.
    pub fn failure(&self) -> Option<FailureNote> {
        self.load(FAILURE).unwrap_or_else(|error| {
            tracing::debug!(%error, "what is noted of a failed boot is passed over");
            None
        })
    }

    /// Notes durably why a boot on trial fails. The lock is not needed: the file is replaced wholly, and who holds the lock may be what hangs.
    ///
    /// # Errors
    /// As writing fails, `NoSpace` for one; the note of an earlier boot is there then, or none.
    ///
    /// # Crash
    /// The old note or the new one.
    pub fn note_failure(&self, note: &FailureNote) -> Result<()> {
        self.store(FAILURE, note)
    }

    /// Removes that note.
    pub(super) fn forget_failure(&self) -> Result<()> {
        self.remove_durably(FAILURE)
    }

    /// The deployments among which nothing is left to be cleaned up; `None` if that is not known, as after damage to the record: it only
    /// spares a search.
    pub fn clean(&self) -> Result<Option<BTreeSet<DeploymentId>>> {
        match self.load(CLEAN) {
            Err(error) if error.kind() == ErrorKind::Integrity => Ok(None),
            result => result,
        }
    }

    /// Records that nothing but these deployments is in the store.
    pub fn set_clean(&self, deployments: &BTreeSet<DeploymentId>) -> Result<()> {
        self.store(CLEAN, deployments)
    }

    /// To be called before anything changes in the store.
    pub fn forget_clean(&self) -> Result<()> {
        self.remove_durably(CLEAN)
    }

    /// The record of a deployment; an empty one if there is none.
    pub fn record(&self, id: &DeploymentId) -> Result<DeploymentRecord> {
        Ok(self.load(&record_file(id))?.unwrap_or_default())
    }

    /// Replaces the record of a deployment.
    pub fn set_record(&self, id: &DeploymentId, record: &DeploymentRecord) -> Result<()> {
        self.store(&record_file(id), record)
    }

    /// Removes records of deployments for which `exists` says no.
    pub fn prune_records(&self, exists: impl Fn(&DeploymentId) -> bool) -> Result<()> {
        let Some(folder) = self.folder()? else { return Ok(()) };
        for file in folder.list(RECORDS)? {
            let id = file.strip_suffix(".json").and_then(|stem| DeploymentId::new(stem).ok());
            if id.is_some_and(|id| !exists(&id)) {
                folder.remove_file(&format!("{RECORDS}/{file}"))?;
            }
        }
        Ok(())
    }

    /// Removes what a command left that was stopped while it wrote here. To be called under the lock.
    pub fn remove_temporaries(&self) -> Result<()> {
        let Some(folder) = self.folder()? else { return Ok(()) };
        for within in [".", RECORDS] {
            folder.remove_half_written(within)?;
        }
        Ok(())
    }

    fn load<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        let Some(folder) = self.folder()? else { return Ok(None) };
        folder.read_json(file).map_err(|error| match error.kind() {
            ErrorKind::Integrity => {
                error.with_hint("move it away; `bootwright status` then shows what is left")
            }
            _ => error,
        })
    }

    fn store<T: Serialize + ?Sized>(&self, file: &str, value: &T) -> Result<()> {
        let json = serde_json::to_vec_pretty(value)
            .map_err(|source| Error::internal(format!("write {file} as JSON")).with_source(source))?;
        self.made()?.replace(file, &json, ReplaceStyle::Durable)
    }

    fn store_or_remove<T: Serialize + ?Sized>(&self, file: &str, value: Option<&T>) -> Result<()> {
        match value {
            Some(value) => self.store(file, value),
            None => self.remove_durably(file),
        }
    }

    fn remove_durably(&self, file: &str) -> Result<()> {
        let Some(folder) = self.folder()? else { return Ok(()) };
        if folder.remove_file(file)? { folder.sync_folder(".") } else { Ok(()) }
    }
}

fn record_file(id: &DeploymentId) -> String {
    format!("{RECORDS}/{id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Faults;

    #[test]
    fn a_damaged_record_of_a_clean_store_says_that_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        let state = StateStore::new(root.clone());
        let ids = BTreeSet::from([DeploymentId::new("one").unwrap()]);
        state.set_clean(&ids).unwrap();
        assert_eq!(state.clean().unwrap(), Some(ids));
        root.replace("bootwright/clean.json", b"{", ReplaceStyle::Durable).unwrap();
        assert_eq!(state.clean().unwrap(), None);
    }

    /// spec: BW-134
    #[test]
    fn a_damaged_or_hostile_note_of_a_failure_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        let state = StateStore::new(root.clone());
        let write = |units: &str| {
            let trial = r#"{"deployment":"one","sequence":1}"#;
            let text = format!(r#"{{"trial":{trial},"failure":{{"failed":[{units}]}}}}"#);
            root.replace("bootwright/failure.json", text.as_bytes(), ReplaceStyle::Durable).unwrap();
            state.failure()
        };
        root.create_dir_all("bootwright").unwrap();
        let many = vec![r#""a.service""#; 1000].join(",");
        assert_eq!(write(&many).unwrap().failure.failed().len(), 5);
        for bad in [r#""a.service"#, r#""\u001b[2J.service""#, r#""no unit""#, "1"] {
            assert_eq!(write(bad), None, "{bad}");
        }
    }
}
