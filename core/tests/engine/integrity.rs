//! Damage that `fsck` has to find, in the store and among the boot files.

use bootwright_core::fs::Faults;

use super::support::upgraded;

/// spec: BW-620
#[tokio::test]
async fn fsck_looks_at_boot_files_too() {
    let (machine, one, two) = upgraded().await;
    let engine = machine.engine(&Faults::none()).unwrap();
    let clean = engine.fsck().await.unwrap();
    assert!(clean.problems.is_empty(), "{clean:?}");
    assert_eq!(clean.checked, 4, "two images, two boot entries");
    machine.loader(&Faults::none()).damage_kernel(&one);
    let found = engine.fsck().await.unwrap();
    assert_eq!(found.problems.len(), 1, "{found:?}");
    assert_eq!(found.problems[0].deployments, [one]);
    machine.loader(&Faults::none()).damage_kernel(&two);
    assert_eq!(engine.fsck().await.unwrap().problems.len(), 2);
}
