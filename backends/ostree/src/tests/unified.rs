//! Images with a UKI. Needs root.

use bootwright_core::{model::KernelArtifacts, uki::synthetic};

use super::support::{Files, Host, version};

fn image(text: &str, uki: &[u8]) -> Files {
    let mut files: Files = version(text).into_iter().filter(|(path, _)| !path.contains("modules")).collect();
    files.push(("usr/lib/modules/6.1.0/modules.dep".to_owned(), Vec::new()));
    files.push(("boot/EFI/Linux/6.1.0.efi".to_owned(), uki.to_vec()));
    files
}

#[tokio::test]
async fn an_image_with_nothing_but_a_uki_is_deployed_with_a_link_of_its_own() {
    let host = Host::initialized().await;
    let uki = synthetic::stub();
    let first = host.deploy(&host.image(&image("1", &uki)), None).await;
    let artifacts = host.backend().boot_artifacts(&first.id).await.unwrap();
    let KernelArtifacts::Unified { uki: blob, .. } = &artifacts.kernel else { panic!("{artifacts:?}") };
    assert_eq!(blob.size, uki.len() as u64);
    assert_eq!(host.boots_version(&artifacts.root_args).as_deref(), Some("1"));
    let tree = host.backend().tree(&first.id).await.unwrap();
    assert_eq!(tree.list("usr/lib/modules/6.1.0").await.unwrap(), ["modules.dep"], "the image's own tree");
    assert_eq!(host.booted(&artifacts.root_args), Some(first.id));
}

#[tokio::test]
async fn such_an_image_survives_a_clean_up() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&image("1", &synthetic::stub())), None).await;
    let second = host.prepare(&host.image(&image("2", &synthetic::stub())), Some(&first.id)).await;
    host.backend().retain(&[first.id.clone(), second.id.clone()].into()).await.unwrap();
    host.backend().finalize(&second.id).await.unwrap();
    assert_eq!(host.boots_version(&host.cmdline(&second.id).await).as_deref(), Some("2"));
}
