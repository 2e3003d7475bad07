//! Bootwright's conformance suite, unchanged, with this program's plugins.

use std::path::PathBuf;

use bootwright_conformance::{
    cargo::build_guest_agent,
    runner::{prepare, run_case},
    suite::{Case, Cell, Verdict, all_cases, vm::VmFactory},
    system::{BackendFixture, KernelFormat, Placed, Programs},
};
use bootwright_core::{inventory, registry};
use tidewater_backend_squashfs as _;
// The two plugins of ours that the program's features bring.
use bootwright as _;

inventory::submit! {
    BackendFixture {
        backend: "squashfs",
        early_program: None,
        folders: &[Placed {
            from: concat!(env!("CARGO_MANIFEST_DIR"), "/../dracut/50tide-squashfs"),
            to: "/usr/lib/dracut/modules.d/50tide-squashfs",
        }],
        // The squashfs root cannot grow, and need not.
        files: &[(
            "/usr/lib/systemd/system/systemd-growfs-root.service.d/50-read-only-root.conf",
            "[Unit]\nConditionPathIsReadWrite=/\n",
        )],
        links: &[],
        dracut_modules: &["tide-squashfs"],
        packages: &["squashfs-tools"],
        sealed_ukis: false,
    }
}

#[test]
fn the_program_has_two_plugins_of_bootwright_and_one_of_its_own() {
    let backends: Vec<_> = registry::backends().iter().map(|plugin| plugin.name).collect();
    let loaders: Vec<_> = registry::bootloaders().iter().map(|plugin| plugin.name).collect();
    assert_eq!((backends, loaders), (vec!["composefs", "squashfs"], vec!["systemd-boot"]));
}

/// The case with this name.
fn case(name: &str) -> Case {
    all_cases().into_iter().find(|case| case.name == name).unwrap()
}

/// The first boot, an upgrade with its merge of `/etc`, and the way back, by real firmware and a real kernel. Needs root.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
async fn a_squashfs_system_boots_and_upgrades_in_a_virtual_machine() {
    let programs = Programs {
        bootwright: PathBuf::from(env!("CARGO_BIN_EXE_tidewaterctl")),
        agent: build_guest_agent().unwrap(),
    };
    let factory = VmFactory::with_programs(programs);
    let cell = Cell::uefi("squashfs", "systemd-boot", KernelFormat::Split);
    let case = case("upgrade::is_staged_and_boots_after_the_shutdown");
    let mut world = prepare(&factory, &cell, case.setting).await.unwrap();
    let verdict = run_case(&mut *world, &case).await;
    assert!(matches!(verdict, Verdict::Passed { .. }), "{}: {verdict:?}", case.name);
}
