//! Bootwright's conformance suite, unchanged, with this program's plugins.

use std::path::{Path, PathBuf};

use bootwright_conformance::{
    cargo::build_guest_agent,
    oracle::{EarlyBoot, LiveRoot, tree},
    runner::{prepare, run_case},
    suite::{Case, Cell, Tier, Verdict, WorldFactory, all_cases, loops, vm::VmFactory},
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
        newer_packages: &[],
        sealed_ukis: false,
    }
}

inventory::submit! { EarlyBoot { argument: "tide.image", find: early_boot, tree: tree_of_image } }

/// What `dracut/50tide-squashfs/tide-root.sh` does, for tests that boot without a kernel.
fn early_boot(sysroot: &Path, image: &str) -> anyhow::Result<LiveRoot> {
    let deployment = sysroot.join("tide/deploy").join(image);
    let image = sysroot.join(format!("tide/squashfs/{image}.squashfs"));
    let found = LiveRoot { etc: deployment.join("etc"), var: deployment.join("var"), root: None };
    for path in [&image, &found.etc, &found.var] {
        anyhow::ensure!(path.exists(), "{} is missing", path.display());
    }
    Ok(found)
}

/// The image is all that there is of a tree.
fn tree_of_image(sysroot: &Path, live: &LiveRoot) -> anyhow::Result<String> {
    let image = live.etc.parent().and_then(Path::file_name).unwrap_or_default();
    tree::file(&sysroot.join("tide/squashfs").join(image).with_added_extension("squashfs"))
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

/// Every case on loop-mounted disks. Needs root.
#[tokio::test(flavor = "multi_thread")]
async fn every_case_holds_for_squashfs_images_on_loop_mounted_disks() {
    let factory = loops::LoopFactory;
    assert_eq!(factory.tier(), Tier::Loop);
    let cells: Vec<_> = loops::cells().into_iter().filter(|cell| cell.backend == "squashfs").collect();
    assert_eq!(cells.len(), 2, "one for each kernel format: {cells:?}");
    let mut failed = Vec::new();
    for cell in cells {
        let mut passed = 0;
        for case in all_cases() {
            let verdict = match prepare(&factory, &cell, case.setting).await {
                Ok(mut world) => run_case(&mut *world, &case).await,
                Err(error) => panic!("{cell}: {}: no machine for it: {error}", case.name),
            };
            match verdict {
                Verdict::Passed { .. } => passed += 1,
                Verdict::Failed { why, .. } => failed.push(format!("{cell}: {}: {why}", case.name)),
                Verdict::Ignored { missing } => println!("{cell}: {}: ignored: {missing}", case.name),
            }
        }
        println!("{cell}: {passed} cases passed");
        assert!(passed > 30, "only {passed} cases passed on {cell}\n{}", failed.join("\n"));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
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
