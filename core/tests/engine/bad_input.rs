//! Input that must be refused, with nothing half-done.

use bootwright_core::{
    ErrorKind,
    capability::{BackendCapabilities, BootloaderCapabilities},
    engine::{ArgumentSources, UpdateMode, compatible},
    fake::{FakeImage, FakeMachine},
    fs::Faults,
    model::{Blob, BootArtifacts, Digest, KernelArtifacts},
};

use super::support::{installed, origin, published, stored, upgrade};

/// spec: BW-121
#[tokio::test]
async fn an_image_without_a_kernel_leaves_nothing_behind() {
    let (machine, one) = installed().await;
    machine.publish_image(&origin(), FakeImage { kernel: None, ..FakeImage::bootable("2") });
    let engine = machine.engine(&Faults::none()).unwrap();
    let error = engine.update(&upgrade(UpdateMode::Stage)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.hint().is_some());
    assert_eq!(stored(&machine).await, std::slice::from_ref(&one));
    assert_eq!(published(&machine).await.unwrap(), [one]);
    let status = engine.status().await.unwrap();
    assert!(status.staged.is_none() && status.interrupted.is_none());
}

/// spec: BW-117
#[tokio::test]
async fn a_system_of_somebody_else_is_not_upgraded() {
    let machine = FakeMachine::new().unwrap();
    let error =
        machine.engine(&Faults::none()).unwrap().update(&upgrade(UpdateMode::Stage)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// spec: BW-117
#[tokio::test]
async fn rolling_back_with_one_deployment_says_that_there_is_no_other() {
    let (machine, one) = installed().await;
    let error = machine.engine(&Faults::none()).unwrap().rollback().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(published(&machine).await.unwrap(), [one]);
}

/// spec: BW-115
#[tokio::test]
async fn a_second_command_while_one_runs_is_refused_as_busy() {
    let (machine, _one) = installed().await;
    let first = machine.engine(&Faults::none()).unwrap();
    let lock = first.state().try_lock().unwrap().unwrap();
    let error = machine.engine(&Faults::none()).unwrap().gc().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    drop(lock);
    machine.engine(&Faults::none()).unwrap().gc().await.unwrap();
}

/// spec: BW-114
#[tokio::test]
async fn a_full_boot_partition_is_told_with_numbers_and_changes_nothing() {
    let (machine, one) = installed().await;
    machine.limit_entries(1);
    machine.publish_image(&origin(), FakeImage::bootable("2"));
    let engine = machine.engine(&Faults::none()).unwrap();
    let error = engine.update(&upgrade(UpdateMode::Stage)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(published(&machine).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(stored(&machine).await, [one]);
}

const ALL: BootloaderCapabilities = BootloaderCapabilities {
    split_kernels: true,
    unified_kernels: true,
    addons: false,
    boot_counting: true,
    one_shot: true,
};

const SEALED: BackendCapabilities = BackendCapabilities {
    verified_root: true,
    offline_seal: false,
    predictable_root_args: true,
    root_filesystems: &[],
};

fn blob() -> Blob {
    Blob { key: "k".to_owned(), size: 1, sha256: Digest::from_sha256([0; 32]) }
}

fn split() -> BootArtifacts {
    let kernel =
        KernelArtifacts::Split { kver: "6".to_owned(), kernel: blob(), initrds: vec![], devicetree: None };
    BootArtifacts { kernel, root_args: "tree=a".parse().unwrap() }
}

fn unified(embedded: &str) -> BootArtifacts {
    let embedded = embedded.parse().unwrap();
    let kernel = KernelArtifacts::Unified { kver: None, uki: blob(), addons: vec![], embedded };
    BootArtifacts { kernel, root_args: "tree=a".parse().unwrap() }
}

/// spec: BW-008, BW-306
#[test]
fn a_uki_that_names_another_root_is_refused() {
    for embedded in ["tree=b", "quiet", "tree=a tree=b", "tree=a \"tree=b\"", "tree=a tr\"ee\"=b"] {
        let error = compatible(&unified(embedded), &ArgumentSources::default(), SEALED, ALL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{embedded}");
    }
    compatible(&unified("quiet tree=a"), &ArgumentSources::default(), SEALED, ALL).unwrap();
}

/// spec: BW-131
#[test]
fn a_command_line_that_the_kernel_would_cut_is_refused_with_the_numbers() {
    const LOADER: BootloaderCapabilities = BootloaderCapabilities { addons: true, ..ALL };
    let user = |bytes: usize| ArgumentSources {
        user: format!("x={}", "y".repeat(bytes)).parse().unwrap(),
        ..ArgumentSources::default()
    };
    for artifacts in [split(), unified("quiet tree=a")] {
        compatible(&artifacts, &user(700), SEALED, LOADER).unwrap();
        let error = compatible(&artifacts, &user(5000), SEALED, LOADER).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("50") && error.hint().is_some(), "{error}");
    }
}

/// spec: BW-132
#[test]
fn a_kernel_that_panics_reboots_unless_somebody_said_otherwise() {
    const LOADER: BootloaderCapabilities = BootloaderCapabilities { addons: true, ..ALL };
    const MOVING: BackendCapabilities = BackendCapabilities { predictable_root_args: false, ..SEALED };
    let with = |image: &str, artifacts: &BootArtifacts, backend| {
        let sources = ArgumentSources { image: image.parse().unwrap(), ..ArgumentSources::default() };
        compatible(artifacts, &sources, backend, LOADER).unwrap().to_string()
    };
    assert_eq!(with("quiet", &split(), SEALED), "quiet panic=10");
    assert_eq!(with("panic=0 quiet", &split(), SEALED), "panic=0 quiet");
    assert_eq!(with("", &unified("quiet"), MOVING), "tree=a panic=10");
    assert_eq!(with("", &unified("panic=3"), MOVING), "tree=a");
    assert_eq!(with("", &unified("tree=a"), SEALED), "");
}

/// spec: BW-119
#[test]
fn user_arguments_on_a_sealed_uki_are_unsupported_not_dropped() {
    let sources = ArgumentSources { user: "debug".parse().unwrap(), ..ArgumentSources::default() };
    assert_eq!(
        compatible(&unified("tree=a"), &sources, SEALED, ALL).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    compatible(&unified("tree=a debug"), &sources, SEALED, ALL).unwrap();
}

/// spec: BW-006, BW-118
#[test]
fn a_kernel_format_that_the_loader_lacks_is_unsupported() {
    let no_split = BootloaderCapabilities { split_kernels: false, ..ALL };
    let no_unified = BootloaderCapabilities { unified_kernels: false, ..ALL };
    let none = ArgumentSources::default();
    assert_eq!(compatible(&split(), &none, SEALED, no_split).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(
        compatible(&unified("tree=a"), &none, SEALED, no_unified).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

/// spec: BW-008, BW-120
#[test]
fn arguments_cannot_choose_another_tree() {
    for sources in [
        ArgumentSources { user: "tree=b".parse().unwrap(), ..ArgumentSources::default() },
        ArgumentSources { image: "tree=b".parse().unwrap(), ..ArgumentSources::default() },
        // Whoever reads the command line in early boot drops the quotes.
        ArgumentSources { user: "\"tree=b\"".parse().unwrap(), ..ArgumentSources::default() },
    ] {
        assert_eq!(compatible(&split(), &sources, SEALED, ALL).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// An addon is read after the UKI's own command line.
/// spec: BW-008, BW-120
#[test]
fn an_addon_beside_a_sealed_uki_cannot_choose_another_tree() {
    let loader = BootloaderCapabilities { addons: true, ..ALL };
    for (user, refused) in [("tree=b", true), ("\"tree=b\"", true), ("tree=a debug", false)] {
        let sources = ArgumentSources { user: user.parse().unwrap(), ..ArgumentSources::default() };
        let result = compatible(&unified("quiet tree=a"), &sources, SEALED, loader);
        assert_eq!(result.is_err_and(|e| e.kind() == ErrorKind::InvalidInput), refused, "{user}");
    }
}

/// spec: BW-120
#[test]
fn a_uki_learns_a_root_that_nobody_could_predict_from_the_loader_and_must_name_none_itself() {
    let late = BackendCapabilities { predictable_root_args: false, ..SEALED };
    let loader = BootloaderCapabilities { addons: true, ..ALL };
    let user = |text: &str| ArgumentSources { user: text.parse().unwrap(), ..ArgumentSources::default() };
    let args = compatible(&unified("quiet"), &user("debug quiet"), late, loader).unwrap();
    assert_eq!(args.to_string(), "tree=a debug panic=10");
    let kind = |embedded, sources, loader| {
        compatible(&unified(embedded), &sources, late, loader).unwrap_err().kind()
    };
    assert_eq!(kind("quiet tree=a", user(""), loader), ErrorKind::Integrity);
    assert_eq!(kind("quiet", user("tree=b"), loader), ErrorKind::InvalidInput);
    assert_eq!(kind("quiet", user(""), ALL), ErrorKind::Unsupported);
}
