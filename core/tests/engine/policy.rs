//! The host's signature policy, asked by the engine: a backend has no part in it.

use std::path::Path;

use bootwright_core::{
    ErrorKind,
    engine::{UpdateMode, UpdateRequest},
    fake::{FakeImage, FakeMachine},
    fs::Faults,
    transport::policy::ImagePolicy,
};

use super::support::{install_request, installed, origin, published, stored, upgrade};

/// A policy that accepts what is below `images/`, but for one name.
fn policy(folder: &Path) -> ImagePolicy {
    let path = folder.join("policy.json");
    let text = r#"{"default": [{"type": "reject"}], "transports": {"docker": {
        "images.example": [{"type": "insecureAcceptAnything"}],
        "images.example/os:bad": [{"type": "reject"}]
    }}}"#;
    #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
    std::fs::write(&path, text).unwrap();
    ImagePolicy::at(path)
}

/// spec: BW-610
#[tokio::test]
async fn an_image_that_the_policy_rejects_is_not_installed() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = FakeMachine::new().unwrap();
    machine.publish_image(&origin(), FakeImage::bootable("1"));
    machine.set_policy(policy(folder.path()));
    let faults = Faults::none();
    let error = machine.engine(&faults).unwrap().install(&install_request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(stored(&machine).await.is_empty() && published(&machine).await.unwrap().is_empty());
    let status = machine.engine(&faults).unwrap().status().await.unwrap();
    assert!(status.system.is_none() && status.interrupted.is_none(), "{status:?}");
}

/// spec: BW-610
#[tokio::test]
async fn neither_an_upgrade_nor_a_switch_nor_a_look_gets_around_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let (mut machine, one) = installed().await;
    let bad = "docker://images.example/os:bad".parse().unwrap();
    let good = "docker://images.example/os:good".parse().unwrap();
    for image in [&origin(), &bad, &good] {
        machine.publish_image(image, FakeImage::bootable("2"));
    }
    machine.set_policy(policy(folder.path()));
    let engine = machine.engine(&Faults::none()).unwrap();
    for mode in [UpdateMode::Check, UpdateMode::DownloadOnly, UpdateMode::Stage] {
        let switch = UpdateRequest { image: Some(bad.clone()), mode, retry: false };
        for request in [upgrade(mode), switch] {
            let error = engine.update(&request).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permission, "{request:?}");
        }
    }
    assert_eq!(stored(&machine).await, [one]);
    assert!(engine.status().await.unwrap().staged.is_none());
    let switch = UpdateRequest { image: Some(good), mode: UpdateMode::Stage, retry: false };
    engine.update(&switch).await.unwrap();
    assert_eq!(stored(&machine).await.len(), 2);
}

/// spec: BW-614
#[tokio::test]
async fn an_images_demand_for_a_policy_is_refused_at_install_and_kept_for_upgrades() {
    let wish = "[install]\nenforce-container-sigpolicy = true";
    let mut demanding = FakeImage::bootable("1");
    demanding.files.insert("usr/lib/bootc/install/00.toml".to_owned(), wish.to_owned());
    let machine = FakeMachine::new().unwrap();
    machine.publish_image(&origin(), demanding);
    let engine = machine.engine(&Faults::none()).unwrap();
    let error = engine.install(&install_request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(published(&machine).await.unwrap().is_empty(), "nothing boots");

    let (machine, one) = installed().await;
    let engine = machine.engine(&Faults::none()).unwrap();
    let record = engine.state().record(&one).unwrap();
    let demanding = bootwright_core::engine::DeploymentRecord { signature_policy: true, ..record };
    engine.state().set_record(&one, &demanding).unwrap();
    machine.publish_image(&origin(), FakeImage::bootable("2"));
    let error = engine.update(&upgrade(UpdateMode::Stage)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(stored(&machine).await, [one]);
}
