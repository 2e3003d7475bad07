//! What a world shows: plain data that cases compare.

use bootwright_core::{
    engine::{Abandoned, DeploymentStatus, Status},
    model::VerifyReport,
};

use super::Version;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// From [`super::TestImage::VERSION_FILE`] in the running `/usr`.
    pub version: Version,
    /// Deployment id, as the backend recognises it from the kernel command line.
    pub id: String,
}

/// What an upgrade or a switch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgraded {
    /// Runs, or is staged, already.
    UpToDate,
    /// This machine left it before; nothing was done.
    Abandoned,
    /// There is something new; nothing was done.
    Available,
    /// It becomes the default at the next shutdown.
    Staged,
    /// It waits for being asked for.
    Downloaded,
}

/// One deployment in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Deployment id.
    pub id: String,
    /// Version label of its image (`v3`).
    pub version: String,
    /// Protected from removal.
    pub pinned: bool,
    /// Tries left of its boot entry; `None` if it is not being tried.
    pub tries_left: Option<u32>,
    /// What is wrong with its boot entry.
    pub problem: Option<String>,
    /// Whether its reads are verified.
    pub verified: bool,
    /// Paths in `/etc` that both sides changed.
    pub etc_conflicts: Vec<String>,
}

/// An image that this machine left, in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// Its version label.
    pub version: String,
    /// Why, in words.
    pub reason: String,
}

/// What `status` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemStatus {
    /// Runs now.
    pub booted: Option<Shown>,
    /// Becomes the default at the next shutdown, or with `on_hold` when it is asked for.
    pub staged: Option<Shown>,
    /// The staged one was only downloaded.
    pub on_hold: bool,
    /// What a rollback leads to.
    pub rollback: Option<Shown>,
    /// A rollback waits for its reboot.
    pub rollback_queued: bool,
    /// Power was cut before the shutdown could finalise the staged deployment.
    pub finalization_missed: bool,
    /// Further deployments.
    pub others: Vec<Shown>,
    /// Deployment id of what boots next.
    pub default: Option<String>,
    /// Images that lost their trial or were rolled back.
    pub abandoned: Vec<Left>,
    /// Boot entries that belong to somebody else.
    pub foreign: Vec<String>,
    /// The boot entry that somebody chose in place of the default.
    pub chosen: Option<String>,
    /// The operation that was interrupted and not recovered yet.
    pub interrupted: Option<String>,
}

impl SystemStatus {
    /// Every deployment: staged, running, way back, others.
    pub fn all(&self) -> impl Iterator<Item = &Shown> {
        let special = [&self.staged, &self.booted, &self.rollback];
        special.into_iter().flatten().chain(&self.others)
    }

    /// The deployment of a version, wherever it is.
    pub fn of(&self, version: Version) -> Option<&Shown> {
        self.all().find(|shown| shown.version == version.to_string())
    }

    /// Why a version was left, if it was.
    pub fn left(&self, version: Version) -> Option<&str> {
        let label = version.to_string();
        self.abandoned.iter().find(|left| left.version == label).map(|left| left.reason.as_str())
    }

    /// Version labels of all deployments, sorted, each once.
    pub fn versions(&self) -> Vec<String> {
        let mut versions: Vec<_> = self.all().map(|shown| shown.version.clone()).collect();
        versions.sort();
        versions.dedup();
        versions
    }
}

/// Whether this place in `status` has this version.
pub fn is_version(shown: Option<&Shown>, version: Version) -> bool {
    shown.is_some_and(|shown| shown.version == version.to_string())
}

impl From<&DeploymentStatus> for Shown {
    fn from(status: &DeploymentStatus) -> Self {
        let entry = status.entry.as_ref();
        Self {
            id: status.deployment.id.to_string(),
            version: status.deployment.image.version.clone().unwrap_or_default(),
            pinned: status.is_pinned(),
            tries_left: entry.and_then(|entry| entry.tries_left),
            problem: entry.and_then(|entry| entry.problem.clone()),
            verified: status.deployment.verified,
            etc_conflicts: status.record.etc_conflicts.clone(),
        }
    }
}

impl From<&Abandoned> for Left {
    fn from(abandoned: &Abandoned) -> Self {
        let version = abandoned.version.clone().unwrap_or_default();
        Self { version, reason: abandoned.reason.to_string() }
    }
}

impl From<Status> for SystemStatus {
    fn from(status: Status) -> Self {
        Self {
            booted: status.booted.as_ref().map(Shown::from),
            staged: status.staged.as_ref().map(Shown::from),
            on_hold: status.staged_on_hold,
            rollback: status.rollback.as_ref().map(Shown::from),
            rollback_queued: status.rollback_queued,
            finalization_missed: status.finalization_missed,
            others: status.others.iter().map(Shown::from).collect(),
            default: status.default.map(|id| id.to_string()),
            abandoned: status.abandoned.iter().map(Left::from).collect(),
            foreign: status.foreign,
            chosen: status.choice.map(|choice| choice.entry),
            interrupted: status.interrupted.map(|intent| intent.operation),
        }
    }
}

/// One boot entry as the firmware or loader shows it: read from the boot files without the plugins' help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEntry {
    /// Its name there: file name, boot option, menu id.
    pub name: String,
    /// The command line with which its kernel would start, addons included.
    pub cmdline: String,
    /// Digest over kernel and initrds, or over the UKI: of what would be loaded.
    pub kernel_sha256: String,
    /// Tries left; `None` if it is not counted.
    pub tries_left: Option<u32>,
    /// Not made by Bootwright.
    pub foreign: bool,
    /// The deployment that it starts, told by the place that its command line leads to. Empty for a foreign one, or if it leads nowhere.
    pub deployment: String,
    /// What tells what it starts from anything else: kernel, initrds or UKI, arguments, and the tree, wherever that lies. Of one deployment it is
    /// the same at any time.
    pub starts: String,
    /// Why it would not start (a file is missing or empty, a part of the tree is missing or damaged), if so.
    pub problem: Option<String>,
}

/// What `fsck` found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FsckFindings {
    /// One line per damaged or missing object: its name, what is wrong, the deployments that need it.
    pub problems: Vec<String>,
}

impl From<VerifyReport> for FsckFindings {
    fn from(report: VerifyReport) -> Self {
        let line = |problem: bootwright_core::model::VerifyProblem| {
            let needed: Vec<_> = problem.deployments.iter().map(ToString::to_string).collect();
            format!("{}: {}; needed by {}", problem.path, problem.problem, needed.join(", "))
        };
        Self { problems: report.problems.into_iter().map(line).collect() }
    }
}
