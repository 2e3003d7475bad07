//! The ordinary programs of libostree work on the result. Needs root, and the program `ostree`.

use bootwright_core::process::Tool;

use super::{
    support::{Host, version},
    system::System,
};

/// spec: BW-319
#[tokio::test]
async fn status_fsck_and_pin_work_on_a_system_of_ours() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    let sysroot = format!("--sysroot={}", host.path("").display());
    let repo = format!("--repo={}", host.path("ostree/repo").display());
    let run = |args: &[&str]| {
        let output = Tool::new("ostree").args(args.iter().copied()).run_blocking().unwrap();
        output.text()
    };
    let status = run(&["admin", &sysroot, "status"]);
    for id in [&first.id, &second.id] {
        assert!(status.contains(id.as_str()), "{status}");
    }
    run(&["fsck", &repo, "-q"]);
    let links = host.cmdline(&first.id).await;
    run(&["admin", &sysroot, "pin", "1"]);
    assert_eq!(host.cmdline(&first.id).await, links, "a pin moves no link");
    assert!(run(&["admin", &sysroot, "status"]).contains("Pinned: yes"));
}

/// spec: BW-319, BW-324
#[tokio::test]
async fn what_the_ordinary_program_pinned_stays_and_can_boot() {
    let (mut system, first) = System::installed().await;
    system.admin(&["pin", &system.index(&first)]);
    let second = system.upgrade("2").await;
    system.upgrade("3").await;
    let fourth = system.upgrade("4").await;
    system.engine("4").gc().await.unwrap();
    let pinned = system.shown(&first).await.expect("what was pinned is gone");
    assert!(pinned.is_pinned(), "status does not show the pin: {pinned:?}");
    let entry = pinned.entry.expect("what was pinned has no boot entry");
    assert_eq!(system.host.boots_version(&entry.cmdline.unwrap()).as_deref(), Some("1"));
    assert!(system.shown(&second).await.is_none(), "what was not pinned is still there");
    assert!(!system.shown(&fourth).await.unwrap().is_pinned());
    assert!(system.admin(&["status"]).contains("Pinned: yes"));
}

/// spec: BW-324
#[tokio::test]
async fn unpinning_takes_off_a_pin_of_the_ordinary_program() {
    let (mut system, first) = System::installed().await;
    system.admin(&["pin", &system.index(&first)]);
    system.upgrade("2").await;
    system.upgrade("3").await;
    system.engine("3").set_pinned(&first, false).await.unwrap();
    assert!(!system.admin(&["status"]).contains("Pinned: yes"));
    assert!(!system.shown(&first).await.unwrap().is_pinned());
    system.engine("3").gc().await.unwrap();
    assert!(system.shown(&first).await.is_none(), "what is no longer pinned is still there");
}

/// spec: BW-324
#[tokio::test]
async fn a_pin_of_the_ordinary_program_survives_another_finalisation_of_the_same_deployment() {
    let (mut system, first) = System::installed().await;
    system.admin(&["pin", &system.index(&first)]);
    system.upgrade("2").await;
    system.upgrade("3").await;
    assert_eq!(system.upgrade("1").await, first);
    assert!(system.shown(&first).await.unwrap().is_pinned());
    system.upgrade("2").await;
    system.upgrade("3").await;
    assert!(system.shown(&first).await.is_some(), "what was pinned is gone");
}
