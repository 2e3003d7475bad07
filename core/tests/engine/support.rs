//! A machine with two versions of an image, and the questions that every test asks.

use bootwright_core::{
    Bootloader as _, Result, StorageBackend as _,
    engine::{InstallRequest, SystemRecord, UpdateMode, UpdateOutcome, UpdateRequest},
    fake::{FakeImage, FakeMachine},
    fs::Faults,
    model::{DeploymentId, ImageReference, KernelCmdline, Stateroot},
};

/// Where the machine's image comes from.
pub fn origin() -> ImageReference {
    "docker://images/os:latest".parse().unwrap()
}

/// An install of [`origin`].
pub fn install_request() -> InstallRequest {
    InstallRequest {
        image: origin(),
        origin: origin(),
        system: SystemRecord {
            backend: "fake".to_owned(),
            bootloader: "fake".to_owned(),
            stateroot: Stateroot::default(),
            allow_missing_verity: false,
        },
        machine_args: "root=UUID=1".parse().unwrap(),
        user_args: KernelCmdline::new(),
        filesystem: None,
        notes: std::env::temp_dir(),
    }
}

/// An update along the origin.
pub fn upgrade(mode: UpdateMode) -> UpdateRequest {
    UpdateRequest { image: None, mode, retry: false }
}

/// A machine that runs version 1.
pub async fn installed() -> (FakeMachine, DeploymentId) {
    let mut machine = FakeMachine::new().unwrap();
    machine.publish_image(&origin(), FakeImage::bootable("1"));
    let id = machine.engine(&Faults::none()).unwrap().install(&install_request()).await.unwrap();
    assert_eq!(machine.boot().await.unwrap().as_ref(), Some(&id));
    (machine, id)
}

/// Upgrades to `version` and returns the staged deployment; it does not boot yet.
pub async fn stage(machine: &FakeMachine, version: &str) -> DeploymentId {
    machine.publish_image(&origin(), FakeImage::bootable(version));
    let engine = machine.engine(&Faults::none()).unwrap();
    match engine.update(&upgrade(UpdateMode::Stage)).await.unwrap() {
        UpdateOutcome::Staged { deployment, .. } => deployment,
        other => panic!("not staged: {other:?}"),
    }
}

/// Shuts down, boots, confirms: a whole reboot. Returns what runs.
pub async fn reboot(machine: &mut FakeMachine) -> DeploymentId {
    machine.engine(&Faults::none()).unwrap().finalize_staged().await.unwrap();
    let booted = machine.boot().await.unwrap().expect("nothing boots");
    machine.engine(&Faults::none()).unwrap().confirm_boot().await.unwrap();
    booted
}

/// A machine that runs version 2 and can roll back to 1.
pub async fn upgraded() -> (FakeMachine, DeploymentId, DeploymentId) {
    let (mut machine, one) = installed().await;
    let two = stage(&machine, "2").await;
    assert_eq!(reboot(&mut machine).await, two);
    (machine, one, two)
}

/// Ids in the store, sorted.
pub async fn stored(machine: &FakeMachine) -> Vec<DeploymentId> {
    let all = machine.backend(&Faults::none()).deployments().await.unwrap();
    let mut ids: Vec<_> = all.into_iter().map(|deployment| deployment.id).collect();
    ids.sort();
    ids
}

/// Ids on the boot partition, most preferred first.
pub async fn published(machine: &FakeMachine) -> Result<Vec<DeploymentId>> {
    let state = machine.loader(&Faults::none()).read().await?;
    Ok(state.entries.into_iter().map(|entry| entry.deployment).collect())
}
