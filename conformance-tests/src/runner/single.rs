//! One case on one world.

use std::{panic::AssertUnwindSafe, pin::Pin, task::Poll, time::Instant};

use crate::suite::{
    Case, CaseResult, Cell, InstallOptions, Points, Result, Setting, Verdict, World, WorldFactory,
    cases::steps,
};

/// A world from which a case with this setting can start.
///
/// # Errors
/// If it cannot be made, or a first install does not boot.
pub async fn prepare(factory: &dyn WorldFactory, cell: &Cell, setting: Setting) -> Result<Box<dyn World>> {
    prepare_for(factory, cell, setting, None).await
}

/// The same, where sweeps try so many points ([`WorldFactory::blank`]).
///
/// # Errors
/// If it cannot be made, or a first install does not boot.
pub async fn prepare_for(
    factory: &dyn WorldFactory,
    cell: &Cell,
    setting: Setting,
    points: Option<Points>,
) -> Result<Box<dyn World>> {
    let mut world = factory.blank(cell, points).await?;
    if setting != Setting::Blank {
        steps::install(&mut *world, &InstallOptions::default()).await?;
    }
    Ok(world)
}

/// Runs a case, unless something that it demands is missing. A panic is a failure.
pub async fn run_case(world: &mut dyn World, case: &Case) -> Verdict {
    if let Some(missing) = case.missing(world) {
        return Verdict::Ignored { missing };
    }
    let start = Instant::now();
    let result = no_panic((case.run)(world)).await;
    let took = start.elapsed();
    match result {
        Ok(()) => Verdict::Passed { took },
        Err(error) => Verdict::Failed { took, why: format!("{error:#}") },
    }
}

async fn no_panic(mut case: Pin<Box<dyn Future<Output = CaseResult> + Send + '_>>) -> CaseResult {
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(anyhow::anyhow!("it panicked: {}", said(&*panic)))))
    })
    .await
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
