//! Bootwright's conformance suite, unchanged, with this program's plugins: a program with the suite's own command line, report and exit status.
//!
//! Fakes and loop-mounted disks, unless it is told otherwise; `--tier vm` boots virtual machines. The loop tier needs root.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use bootwright_conformance::{
    cargo::build_guest_agent,
    oracle::{EarlyBoot, LiveRoot, tree},
    runner::{self, Factories, Matrix, Options},
    suite::{Tier, fakes::FakeFactory, loops::LoopFactory, vm::VmFactory},
    system::{BackendFixture, Placed, Programs},
};
use bootwright_core::inventory;
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
    tree::file(&sysroot.join(format!("tide/squashfs/{}.squashfs", image.display())))
}

/// The tiers, of which virtual machines get this program in the place of Bootwright's.
fn factories(options: &Options) -> anyhow::Result<Factories> {
    let mut all: Factories = vec![Arc::new(FakeFactory), Arc::new(LoopFactory)];
    if options.tiers().contains(&Tier::Vm) {
        let bootwright = PathBuf::from(env!("CARGO_BIN_EXE_tidewaterctl"));
        all.push(Arc::new(VmFactory::with_programs(Programs { bootwright, agent: build_guest_agent()? })));
    }
    Ok(all)
}

fn main() -> ExitCode {
    let mut options = Options::from_command_line();
    options
        .report
        .get_or_insert_with(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("tidewater-conformance"));
    let matrix = Matrix::parse(include_str!("../../matrix.toml"));
    match matrix.and_then(|matrix| Ok((matrix, factories(&options)?))) {
        Ok((matrix, factories)) => runner::main_as(&options, &factories, Some(&matrix)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
