//! The ordinary programs of libostree work on the result. Needs root, and the program `ostree`.

use bootwright_core::process::Tool;

use super::support::{Host, version};

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
