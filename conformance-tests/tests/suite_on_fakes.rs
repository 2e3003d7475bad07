//! Every case on every pair of fakes.

use bootwright_conformance::{
    runner::{prepare, run_case},
    suite::{Verdict, all_cases, fakes},
};

#[tokio::test]
async fn every_case_holds_on_every_pair_of_fakes() {
    let mut failed = Vec::new();
    for cell in fakes::cells() {
        for case in all_cases() {
            let mut world = prepare(&fakes::FakeFactory, &cell, case.setting).await.unwrap();
            if let Verdict::Failed { why, .. } = run_case(&mut *world, &case).await {
                failed.push(format!("{cell}: {}: {why}", case.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
