//! The `org.containers.bootc/v1` document (bootc, "host-v1" schema), with our own facts under the additional key `bootwright`.

use bootwright_core::{
    engine::{AbandonReason, Abandoned, DeploymentStatus, Failure, Status},
    model::{ImageReference, KernelCmdline, UnitName},
};
use serde::Serialize;

/// The whole document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
    status: HostStatus,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    image: Option<Image>,
    boot_order: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HostStatus {
    staged: Option<Entry>,
    booted: Option<Entry>,
    rollback: Option<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_deployments: Vec<Entry>,
    rollback_queued: bool,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    usr_overlay: Option<()>,
    bootwright: System,
}

/// What the schema has no place for, about the system.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct System {
    backend: Option<String>,
    bootloader: Option<String>,
    stateroot: Option<String>,
    allow_missing_verity: Option<bool>,
    /// Deployment id of what boots next.
    default: Option<String>,
    /// The last shutdown should have made the staged deployment the default, but did not.
    finalization_missed: bool,
    /// An operation that was interrupted and will be recovered by the next command that writes.
    interrupted: Option<String>,
    /// Images that lost their trial or were rolled back: an upgrade leaves them out.
    abandoned: Vec<Left>,
    /// The boot entry that somebody chose, in place of the default.
    chosen_entry: Option<String>,
    /// Boot entries that belong to somebody else.
    foreign_entries: Vec<String>,
}

/// An image that this machine left.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Left {
    deployment_id: String,
    image_digest: String,
    version: Option<String>,
    /// When that was noticed.
    timestamp: String,
    /// `failedTrial` or `rolledBack`.
    reason: &'static str,
    /// Units that failed in its boots, as far as these could tell.
    failed_units: Vec<UnitName>,
    /// Units that did not finish starting.
    unfinished_units: Vec<UnitName>,
    /// All of it for people.
    message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the schema has them")]
struct Entry {
    image: ImageStatus,
    cached_update: Option<()>,
    incompatible: bool,
    pinned: bool,
    download_only: bool,
    soft_reboot_capable: bool,
    store: Option<()>,
    bootwright: Deployed,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageStatus {
    image: Image,
    version: Option<String>,
    timestamp: Option<String>,
    image_digest: String,
    architecture: String,
}

#[derive(Debug, Serialize)]
struct Image {
    image: String,
    transport: &'static str,
}

/// What the schema has no place for, about one deployment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Deployed {
    deployment_id: String,
    stateroot: String,
    verified: bool,
    finalized: bool,
    title: Option<String>,
    /// Absent: not being tried. Zero: tried, and never reached a good boot.
    tries_left: Option<u32>,
    problem: Option<String>,
    etc_conflicts: Vec<String>,
    kernel_arguments: KernelCmdline,
}

impl Host {
    /// The document for a system; for one that is not ours, with nothing in it.
    pub fn new(status: &Status) -> Self {
        let followed = status.staged.as_ref().or(status.booted.as_ref());
        Self {
            api_version: "org.containers.bootc/v1",
            kind: "BootcHost",
            metadata: Metadata { name: "host" },
            spec: Spec {
                image: followed.map(|one| image(&one.deployment.origin)),
                boot_order: if status.rollback_queued { "rollback" } else { "default" },
            },
            status: HostStatus {
                staged: status.staged.as_ref().map(|one| entry(one, status.staged_on_hold)),
                booted: status.booted.as_ref().map(|one| entry(one, false)),
                rollback: status.rollback.as_ref().map(|one| entry(one, false)),
                other_deployments: status.others.iter().map(|one| entry(one, false)).collect(),
                rollback_queued: status.rollback_queued,
                kind: status.booted.is_some().then_some("bootcHost"),
                usr_overlay: None,
                bootwright: system(status),
            },
        }
    }
}

fn system(status: &Status) -> System {
    let record = status.system.as_ref();
    System {
        backend: record.map(|system| system.backend.clone()),
        bootloader: record.map(|system| system.bootloader.clone()),
        stateroot: record.map(|system| system.stateroot.to_string()),
        allow_missing_verity: record.map(|system| system.allow_missing_verity),
        default: status.default.as_ref().map(ToString::to_string),
        finalization_missed: status.finalization_missed,
        interrupted: status.interrupted.as_ref().map(|intent| intent.operation.clone()),
        abandoned: status.abandoned.iter().map(left).collect(),
        chosen_entry: status.choice.as_ref().map(|choice| choice.entry.clone()),
        foreign_entries: status.foreign.clone(),
    }
}

fn left(one: &Abandoned) -> Left {
    let (reason, failure) = match &one.reason {
        AbandonReason::FailedTrial { failure, .. } => ("failedTrial", failure.clone().unwrap_or_default()),
        AbandonReason::RolledBack => ("rolledBack", Failure::default()),
    };
    Left {
        deployment_id: one.deployment.to_string(),
        image_digest: one.image_digest.to_string(),
        version: one.version.clone(),
        timestamp: one.when.clone(),
        reason,
        failed_units: failure.failed().to_vec(),
        unfinished_units: failure.unfinished().to_vec(),
        message: one.reason.to_string(),
    }
}

fn image(reference: &ImageReference) -> Image {
    Image { image: reference.name().to_owned(), transport: reference.transport().status_name() }
}

fn entry(one: &DeploymentStatus, download_only: bool) -> Entry {
    let pinned_image = &one.deployment.image;
    Entry {
        image: ImageStatus {
            image: image(&one.deployment.origin),
            version: pinned_image.version.clone(),
            timestamp: pinned_image.created.clone(),
            image_digest: pinned_image.manifest_digest.to_string(),
            architecture: pinned_image.architecture.clone(),
        },
        cached_update: None,
        incompatible: false,
        pinned: one.is_pinned(),
        download_only,
        soft_reboot_capable: false,
        store: None,
        bootwright: deployed(one),
    }
}

fn deployed(one: &DeploymentStatus) -> Deployed {
    let published = one.entry.as_ref();
    Deployed {
        deployment_id: one.deployment.id.to_string(),
        stateroot: one.deployment.stateroot.to_string(),
        verified: one.deployment.verified,
        finalized: one.deployment.finalized,
        title: published.map(|entry| entry.title.clone()),
        tries_left: published.and_then(|entry| entry.tries_left),
        problem: published.and_then(|entry| entry.problem.clone()),
        etc_conflicts: one.record.etc_conflicts.clone(),
        kernel_arguments: one.record.user_args.clone(),
    }
}
