//! temporary
use bootwright as _;
use bootwright_conformance::{
    runner,
    suite::{self, Cell, Setting, Verdict, WorldFactory as _},
    system::KernelFormat,
};
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let format = if args[3] == "unified" { KernelFormat::Unified } else { KernelFormat::Split };
    let cell = Cell::uefi(&args[1], &args[2], format);
    let filter = args.get(4).cloned().unwrap_or_default();
    let factory = suite::vm::VmFactory::default();
    let mut shared: Option<Box<dyn suite::World>> = None;
    for case in suite::all_cases() {
        if !case.name.contains(&filter) {
            continue;
        }
        let mut own;
        let world = if case.setting == Setting::Running {
            if shared.is_none() {
                let t = std::time::Instant::now();
                shared = Some(
                    runner::prepare(&factory, &cell, Setting::Running)
                        .await
                        .map_err(|e| format!("{e}"))
                        .unwrap(),
                );
                println!("prepared in {:?}", t.elapsed());
            }
            shared.as_mut().unwrap()
        } else {
            own = factory.blank(&cell).await.unwrap();
            if let Some(m) = case.missing(&*own) {
                println!("IGNORED {} {m}", case.name);
                continue;
            }
            if case.setting != Setting::Blank {
                own = runner::prepare(&factory, &cell, case.setting).await.unwrap();
            }
            &mut own
        };
        let v = runner::run_case(&mut **world, &case).await;
        match &v {
            Verdict::Failed { why, took } => {
                println!("FAILED {} {took:?}\n{why}", case.name);
                if case.setting == Setting::Running {
                    shared = None;
                }
            }
            v => println!("{v:?} {}", case.name),
        }
    }
}
