//! Finding damage. Needs root.

use bootwright_core::model::{KernelArtifacts, NoProgress};

use super::support::{Host, version};

/// spec: BW-311
#[tokio::test]
async fn every_damaged_or_missing_object_is_found_with_whom_it_hurts() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image(&version("1")), None).await;
    let second = host.deploy(&host.image(&version("2")), Some(&first.id)).await;
    let report = host.backend().verify(&NoProgress).await.unwrap();
    assert!(report.problems.is_empty() && report.checked > 10, "{report:?}");

    let artifacts = host.backend().boot_artifacts(&second.id).await.unwrap();
    let KernelArtifacts::Split { kernel, .. } = artifacts.kernel else { panic!("no split kernel") };
    let object = |key: &str| {
        let hex = key.strip_prefix("object/").unwrap();
        format!("ostree/repo/objects/{}/{}.file", &hex[..2], &hex[2..])
    };
    std::fs::write(host.path(&object(&kernel.key)), "Kernel").unwrap();
    let own = host.boots(&host.cmdline(&second.id).await).unwrap().join("usr/lib/version");
    let own = find_object(&host, &own);
    std::fs::remove_file(host.path(&own)).unwrap();

    let report = host.backend().verify(&NoProgress).await.unwrap();
    let hurt = |path: &str| {
        let problem = report.problems.iter().find(|problem| problem.path == path).unwrap();
        problem.deployments.len()
    };
    assert_eq!(report.problems.len(), 2, "{report:?}");
    assert_eq!(hurt(&object(&kernel.key)), 2);
    assert_eq!(hurt(&own), 1);
}

/// The object that a checked-out file is a hard link of.
fn find_object(host: &Host, file: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let inode = std::fs::metadata(file).unwrap().ino();
    let objects = host.path("ostree/repo/objects");
    for first in std::fs::read_dir(objects).unwrap().flatten() {
        for object in std::fs::read_dir(first.path()).unwrap().flatten() {
            if object.metadata().unwrap().ino() == inode {
                let path = object.path();
                return path.strip_prefix(host.path("")).unwrap().to_str().unwrap().to_owned();
            }
        }
    }
    panic!("{} is no hard link of an object", file.display())
}
