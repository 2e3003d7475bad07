//! Both forms, from made-up systems.

use bootwright_core::{
    engine::{AbandonReason, Abandoned, DeploymentRecord, DeploymentStatus, Failure, Status, SystemRecord},
    model::{Deployment, DeploymentId, Digest, EntryId, PinnedImage, PublishedEntry, Stateroot, UnitName},
};
use serde_json::{Value, json};

use super::{Host, text};

fn deployment(id: &str) -> DeploymentStatus {
    let reference = "docker://host.example/os:stable".parse().unwrap();
    DeploymentStatus {
        deployment: Deployment {
            id: DeploymentId::new(id).unwrap(),
            stateroot: Stateroot::default(),
            image: PinnedImage {
                reference: "oci:/tmp/os:1".parse().unwrap(),
                manifest_digest: Digest::from_sha256([0xab; 32]),
                version: Some("1.2".into()),
                created: Some("2026-01-02T03:04:05Z".into()),
                architecture: "amd64".into(),
            },
            origin: reference,
            finalized: true,
            verified: true,
            pinned_by_store: false,
        },
        record: DeploymentRecord::default(),
        entry: Some(PublishedEntry {
            id: EntryId::new(id).unwrap(),
            deployment: DeploymentId::new(id).unwrap(),
            title: "An OS".into(),
            version: None,
            cmdline: None,
            tries_left: None,
            tries_done: None,
            problem: None,
        }),
    }
}

fn installed() -> Status {
    Status {
        system: Some(SystemRecord {
            backend: "store".into(),
            bootloader: "loader".into(),
            stateroot: Stateroot::default(),
            allow_missing_verity: false,
        }),
        booted: Some(deployment("one")),
        rollback: Some(deployment("two")),
        default: Some(DeploymentId::new("one").unwrap()),
        ..Status::default()
    }
}

fn json_of(status: &Status) -> Value {
    serde_json::to_value(Host::new(status)).unwrap()
}

/// spec: BW-803
#[test]
fn the_document_has_the_keys_that_the_schema_demands() {
    let host = json_of(&installed());
    assert_eq!(host["apiVersion"], "org.containers.bootc/v1");
    assert_eq!((&host["kind"], &host["metadata"]["name"]), (&json!("BootcHost"), &json!("host")));
    assert_eq!(
        host["spec"],
        json!({
            "image": {"image": "host.example/os:stable", "transport": "registry"}, "bootOrder": "default"
        })
    );
    assert_eq!(host["status"]["type"], "bootcHost");
    assert_eq!(host["status"]["staged"], Value::Null);
    let booted = &host["status"]["booted"];
    assert_eq!(
        booted["image"],
        json!({
            "image": {"image": "host.example/os:stable", "transport": "registry"},
            "version": "1.2",
            "timestamp": "2026-01-02T03:04:05Z",
            "imageDigest": format!("sha256:{}", "ab".repeat(32)),
            "architecture": "amd64",
        })
    );
    assert_eq!((&booted["incompatible"], &booted["pinned"]), (&json!(false), &json!(false)));
    assert_eq!(booted["bootwright"]["deploymentId"], "one");
    assert_eq!(host["status"]["bootwright"]["backend"], "store");
}

/// spec: BW-804
#[test]
fn a_queued_rollback_shows_in_order_and_flag() {
    let host = json_of(&Status { rollback_queued: true, ..installed() });
    assert_eq!(host["spec"]["bootOrder"], "rollback");
    assert_eq!(host["status"]["rollbackQueued"], true);
}

/// spec: BW-808
#[test]
fn people_and_programs_are_told_where_a_deployment_is_not_verified() {
    let mut status = installed();
    status.rollback.as_mut().unwrap().deployment.verified = false;
    let host = json_of(&status);
    let verified = |role: &str| host["status"][role]["bootwright"]["verified"].clone();
    assert_eq!((verified("booted"), verified("rollback")), (json!(true), json!(false)));
    let shown = text(&status, "bootwright");
    let (booted, rollback) = shown.split_once("rollback:").unwrap();
    assert!(booted.contains("verified by the kernel") && rollback.contains("not verified"), "{shown}");
}

#[test]
fn only_a_held_staged_deployment_is_download_only() {
    let staged = Some(deployment("three"));
    let host = json_of(&Status { staged: staged.clone(), staged_on_hold: true, ..installed() });
    assert_eq!(host["status"]["staged"]["downloadOnly"], true);
    let host = json_of(&Status { staged, ..installed() });
    assert_eq!(host["status"]["staged"]["downloadOnly"], false);
}

#[test]
fn a_system_that_is_not_ours_has_no_type() {
    let host = json_of(&Status::default());
    assert_eq!((&host["status"]["type"], &host["status"]["booted"]), (&Value::Null, &Value::Null));
    assert!(text(&Status::default(), "our-os").contains("not installed by our-os"));
}

/// spec: BW-804
#[test]
fn people_see_exhausted_tries_conflicts_and_missed_shutdowns() {
    let mut broken = deployment("two");
    broken.entry.as_mut().unwrap().tries_left = Some(0);
    broken.record.etc_conflicts = vec!["etc/motd".into()];
    broken.record.pinned = true;
    let status = Status { rollback: Some(broken), finalization_missed: true, ..installed() };
    let text = text(&status, "bootwright");
    for part in ["none left", "etc/motd", "pinned", "did not finish", "* booted", "1.2, 2026-01-02T03:04:05Z"]
    {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn after_a_lost_trial(failure: Option<Failure>) -> Status {
    let left = Abandoned {
        deployment: DeploymentId::new("three").unwrap(),
        image_digest: Digest::from_sha256([0xcd; 32]),
        version: Some("1.3".into()),
        when: "2026-02-03T04:05:06Z".into(),
        sequence: 3,
        reason: AbandonReason::FailedTrial { tries: Some(3), failure },
    };
    Status { abandoned: vec![left], ..installed() }
}

/// spec: BW-123
#[test]
fn what_was_left_is_shown_with_its_reason() {
    let status = after_a_lost_trial(None);
    let shown = &json_of(&status)["status"]["bootwright"]["abandoned"][0];
    assert_eq!((&shown["reason"], &shown["version"]), (&json!("failedTrial"), &json!("1.3")));
    assert_eq!(shown["imageDigest"], format!("sha256:{}", "cd".repeat(32)));
    let text = text(&status, "our-os");
    for part in ["1.3", "did not reach boot-complete.target in 3 tries", "2026-02-03T04:05:06Z", "--retry"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// spec: BW-134
#[test]
fn the_units_that_failed_are_named_to_people_and_programs() {
    let unit = |name: &str| UnitName::new(name).unwrap();
    let failed = [unit("suite-check.service"), unit("data.mount")];
    let status = after_a_lost_trial(Some(Failure::new(failed, [unit("slow.service")])));
    let shown = &json_of(&status)["status"]["bootwright"]["abandoned"][0];
    assert_eq!(shown["failedUnits"], json!(["suite-check.service", "data.mount"]));
    assert_eq!(shown["unfinishedUnits"], json!(["slow.service"]));
    let text = text(&status, "our-os");
    let part =
        "in 3 tries: suite-check.service and data.mount failed, slow.service did not finish starting (2026";
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}
