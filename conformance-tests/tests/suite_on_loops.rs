//! Every case on every registered pair, on loop-mounted disks. Needs root.

use bootwright as _;
use bootwright_conformance::{
    runner::{prepare, run_case},
    suite::{Verdict, all_cases, loops},
};

#[test]
fn every_case_holds_on_every_registered_pair() {
    let wanted = std::env::var("SUITE_CASE").unwrap_or_default();
    let cell_wanted = std::env::var("SUITE_CELL").unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut failed = Vec::new();
    for cell in loops::cells().iter().filter(|cell| cell.to_string().contains(&cell_wanted)) {
        for case in all_cases().iter().filter(|case| case.name.contains(&wanted)) {
            let verdict = runtime.block_on(async {
                let mut world = match prepare(&loops::LoopFactory, cell, case.setting).await {
                    Ok(world) => world,
                    Err(error) => {
                        return Verdict::Failed { took: std::time::Duration::ZERO, why: error.to_string() };
                    }
                };
                run_case(&mut *world, case).await
            });
            println!("{cell} {} {verdict:?}", case.name);
            if let Verdict::Failed { why, .. } = verdict {
                failed.push(format!("{cell}: {}: {why}", case.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
